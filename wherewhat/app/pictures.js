// Pictures from the server go into the cards: triples of a control, "strip" or "mask", and the link of the picture.
// Runs once, in an empty element beside them.
watch('value', () => {
  for (const [control, part, link] of props.value)
    element.closest('.controls').querySelector(`[data-control="${control}"] .${part} img`).src = link;
});
