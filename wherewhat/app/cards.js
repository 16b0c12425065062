// What a hand does to the sliders is sent to the server: moves as the value of this element, of which the last one
// counts; all else as events with their data.  Runs once, in an empty element beside the cards.
const root = element.closest('.controls');
const REST = 200;  // milliseconds without a change after which a slider is said to be released
let resting;

const find = (card, name) => card.querySelector('.' + name);
const control = card => Number(card.dataset.control);

function move(card, value) {
  props.value = [control(card), value];
  find(card, 'restore').disabled = false;
  trigger('input');
}

root.addEventListener('input', e => {
  const card = e.target.closest('.card'), own = e.target.classList;
  if (!card || !own.contains('value') && !own.contains('number') || !Number.isFinite(e.target.valueAsNumber)) return;
  const limit = Number(e.target.max), value = Math.min(Math.max(e.target.valueAsNumber, -limit), limit);
  find(card, own.contains('value') ? 'number' : 'value').value = value;
  move(card, value);
});

root.addEventListener('change', e => {
  const card = e.target.closest('.card');
  if (!card) return;
  if (e.target.type == 'checkbox') trigger('select', {control: control(card), on: e.target.checked});
  else if (e.target.classList.contains('name')) trigger('submit', {control: control(card), name: e.target.value});
  else { clearTimeout(resting); resting = setTimeout(() => trigger('release'), REST); }
});

root.addEventListener('click', e => {
  const button = e.target.closest('button'), card = e.target.closest('.card');
  if (!card || !button) return;
  if (button.dataset.value) {  // a thumbnail
    const slider = find(card, 'value');
    slider.value = button.dataset.value;
    for (const name of ['input', 'change']) slider.dispatchEvent(new Event(name, {bubbles: true}));
  } else if (button.classList.contains('mask')) trigger('click', {control: control(card)});
  else if (button.classList.contains('restore')) trigger('clear', {control: control(card)});
  else if (button.classList.contains('accept')) {
    const name = find(card, 'name');
    name.value = name.placeholder;
    name.dispatchEvent(new Event('change', {bubbles: true}));
    name.focus();
  }
});

// one thumbnail of a strip is reached with Tab, its neighbours with the arrows
root.addEventListener('keydown', e => {
  if (e.target.classList.contains('name') && e.key == 'Enter') e.target.blur();
  if (!e.target.dataset.value || !['ArrowLeft', 'ArrowRight'].includes(e.key)) return;
  const next = e.target[e.key == 'ArrowLeft' ? 'previousElementSibling' : 'nextElementSibling'];
  if (next?.dataset.value) { e.target.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  e.preventDefault();
});

root.addEventListener('toggle', e => {
  if (e.target.classList.contains('fold')) trigger(e.target.open ? 'expand' : 'collapse');
}, true);
