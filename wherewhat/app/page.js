() => {
  // a slider of Gradio says that it was released when a pointer does that, not when a key does
  document.addEventListener('change', e => {
    if (e.target.matches('.block input[type=range]')) e.target.dispatchEvent(new Event('pointerup', {bubbles: true}));
  });
  // Ctrl-Z and Ctrl-Shift-Z are the buttons Undo and Redo of the run that is seen, but not where text is written
  document.addEventListener('keydown', e => {
    const writes = e.target.matches('textarea, input:not([type=range], [type=checkbox], [type=radio])');
    if (!(e.ctrlKey || e.metaKey) || writes || !['z', 'y'].includes(e.key.toLowerCase())) return;
    const name = e.shiftKey || e.key.toLowerCase() == 'y' ? 'redo' : 'undo';
    const button = [...document.querySelectorAll('button.' + name)].find(b => b.offsetParent);
    if (button && !button.disabled) button.click();
    e.preventDefault();
  });
}
