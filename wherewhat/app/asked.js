// The cards come in the order that was asked for, those that do not act there faded; in their first order without one.
// Runs once, in the element that says what was found.
watch('value', () => {
  const cards = element.closest('.both').querySelector('.controls'), fold = cards.querySelector('.fold');
  const {order, faded} = element.querySelector('.acting').dataset;
  const shown = [...cards.querySelectorAll('.card:not(.fold .card)')], control = card => Number(card.dataset.control);
  shown.forEach((card, place) => card.dataset.place ??= place);
  const place = order ? card => JSON.parse(order).indexOf(control(card)) : card => Number(card.dataset.place);
  const parent = shown[0].parentNode;
  for (const card of shown.sort((a, b) => place(a) - place(b))) {
    card.classList.toggle('faded', JSON.parse(faded ?? '[]').includes(control(card)));
    parent.insertBefore(card, fold);
  }
});
