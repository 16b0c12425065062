// The large picture.  A click on it, or a box drawn on it, is sent as shares of its height and width; its address goes
// into that of the page.  Runs once, in the element that holds the picture.
let from = null;
const place = e => {
  const image = element.querySelector('.frame img:last-of-type'), r = image.getBoundingClientRect();
  const scale = Math.min(r.width / image.naturalWidth, r.height / image.naturalHeight);
  const w = image.naturalWidth * scale, h = image.naturalHeight * scale;
  const share = x => Math.min(Math.max(x, 0), 1);
  return [share((e.clientY - r.top - (r.height - h) / 2) / h), share((e.clientX - r.left - (r.width - w) / 2) / w)];
};
element.addEventListener('dragstart', e => e.preventDefault());
element.addEventListener('pointerdown', e => { from = e.target.tagName == 'IMG' ? place(e) : null; });
element.addEventListener('pointerup', e => {
  if (from) { const to = place(e); trigger('click', {box: [Math.min(from[0], to[0]), Math.min(from[1], to[1]),
    Math.max(from[0], to[0]), Math.max(from[1], to[1])]}); }
  from = null;
});

const SETTLED = 300;  // milliseconds after which a picture is in the address: browsers refuse many changes of it
let settling;
watch('value', () => {
  clearTimeout(settling);
  settling = setTimeout(() => {
    const {address, prefix} = element.querySelector('figure').dataset, fresh = new URLSearchParams(address);
    const own = name => fresh.has(name) || name.startsWith(prefix) && !name.startsWith('__');
    const kept = [...new URLSearchParams(location.search)].filter(([name]) => !own(name));
    const words = [new URLSearchParams(kept).toString(), address].filter(Boolean);
    history.replaceState(null, '', words.length ? '?' + words.join('&') : location.pathname);
  }, SETTLED);
});
