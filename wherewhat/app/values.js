// What the server says goes into all cards: {values, moved, locked, names}.  Runs once, in an empty element beside them.
watch('value', () => {
  const {values, moved, locked, names} = props.value;
  for (const card of element.closest('.controls').querySelectorAll('.card')) {
    const k = Number(card.dataset.control), find = name => card.querySelector('.' + name), name = find('name');
    find('value').value = find('number').value = values[k];
    find('restore').disabled = !moved.includes(k);
    find('lock').firstChild.checked = locked.includes(k);
    if (name != document.activeElement) name.value = names[k];
    const spoken = names[k] || name.placeholder;
    for (const [part, words] of [['value', ''], ['number', 'value of '], ['restore', 'reset '], ['strip', 'thumbnails of ']])
      find(part).ariaLabel = words + spoken;
    card.ariaLabel = spoken;
  }
});
