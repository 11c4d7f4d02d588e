'use strict';
// The page works without this script: it adds sorting, copying, the search over teams, the choice
// of colours, and the way through a picture with the arrow keys.
(function () {
  var all = function (selector, root) {
    return Array.prototype.slice.call((root || document).querySelectorAll(selector));
  };

  // Tables: a click on a column's head sorts by it, a second one the other way round.
  all('table').forEach(function (table) {
    var heads = all('th', table);
    heads.forEach(function (head, column) {
      head.querySelector('button').addEventListener('click', function () {
        var up = head.getAttribute('aria-sort') !== 'ascending';
        heads.forEach(function (h) { h.removeAttribute('aria-sort'); });
        head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
        var body = table.tBodies[0], rows = all('tr', body);
        rows.sort(function (a, b) {
          var x = a.cells[column], y = b.cells[column], d;
          if (x.dataset.v !== undefined && y.dataset.v !== undefined) {
            d = Number(x.dataset.v) - Number(y.dataset.v);
          } else {
            d = x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
          }
          return up ? d : -d;
        });
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
  });

  all('.copy').forEach(function (button) {
    button.addEventListener('click', function () {
      var pre = button.parentNode.querySelector('pre'), range = document.createRange();
      range.selectNodeContents(pre);
      var selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      var done = function () {
        button.textContent = 'Copied';
        setTimeout(function () { button.textContent = 'Copy'; }, 1500);
      };
      var old = function () { document.execCommand('copy'); done(); };
      if (navigator.clipboard) {
        navigator.clipboard.writeText(pre.textContent).then(done, old);
      } else {
        old();
      }
    });
  });

  // The drawings of a picture: which one is shown.
  all('.views').forEach(function (choice) {
    choice.addEventListener('change', function (event) {
      all('.view', choice.parentNode).forEach(function (view, i) {
        view.classList.toggle('shown', String(i) === event.target.value);
      });
    });
  });

  // Marks: one stop of the tabulator for each drawing, arrow keys go from mark to mark.
  var tip = document.createElement('div');
  tip.id = 'tip';
  tip.hidden = true;
  document.body.appendChild(tip);
  var hide = function () { tip.hidden = true; };
  all('.wide,.narrow').forEach(function (drawing) {
    var marks = all('[role=graphics-symbol]', drawing);
    marks.forEach(function (mark, i) {
      mark.setAttribute('tabindex', i === 0 ? '0' : '-1');
      mark.addEventListener('focus', function () {
        marks.forEach(function (m) { m.setAttribute('tabindex', '-1'); });
        mark.setAttribute('tabindex', '0');
        tip.textContent = mark.querySelector('title').textContent;
        tip.hidden = false;
        var at = mark.getBoundingClientRect(), size = tip.getBoundingClientRect();
        var most = document.documentElement.clientWidth - size.width - 8;
        tip.style.left = Math.max(8, Math.min(at.left, most)) + window.scrollX + 'px';
        tip.style.top = at.bottom + 6 + window.scrollY + 'px';
      });
      mark.addEventListener('blur', hide);
      mark.addEventListener('keydown', function (event) {
        var step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        var to = { Home: 0, End: marks.length - 1 }[event.key];
        if (step !== undefined) { to = (i + step + marks.length) % marks.length; }
        if (event.key === 'Escape') { hide(); }
        if (to === undefined) { return; }
        event.preventDefault();
        marks[to].focus();
      });
    });
  });

  // Teams: what is typed picks the teams whose name has it, or the one that it names in full.
  var input = document.getElementById('team');
  if (!input) { return; }
  var found = document.getElementById('found');
  var names = all('#teams option').map(function (option) { return option.value; });
  var details = all('#teams option').map(function (option) { return option.dataset.detail; });
  var pick = function () {
    var typed = input.value.trim().toLowerCase(), hits = {}, count = 0, last = 0;
    var exact = names.map(function (n) { return n.toLowerCase(); }).indexOf(typed);
    names.forEach(function (name, i) {
      if (exact >= 0 ? i === exact : name.toLowerCase().indexOf(typed) >= 0) {
        hits[i] = true;
        count += 1;
        last = i;
      }
    });
    document.body.classList.toggle('picked', typed !== '');
    all('[data-teams]').forEach(function (part) {
      var hit = part.dataset.teams.split(' ').some(function (team) { return hits[team]; });
      part.classList.toggle('hit', hit);
      if (part.tagName === 'TR') { part.hidden = typed !== '' && !hit; }
    });
    if (typed === '') { found.textContent = ''; }
    else if (count === 1) { found.textContent = names[last] + ': ' + details[last]; }
    else { found.textContent = count === 0 ? 'no such team' : count + ' teams'; }
    var hash = typed === '' ? ' ' : '#team=' + encodeURIComponent(input.value.trim());
    try { history.replaceState(null, '', hash === ' ' ? location.pathname + location.search : hash); } catch (e) { /* a page from a file may not */ }
  };
  input.addEventListener('input', pick);
  all('button.team').forEach(function (button) {
    button.addEventListener('click', function () {
      input.value = input.value === button.textContent ? '' : button.textContent;
      pick();
    });
  });
  document.addEventListener('keydown', function (event) {
    if (event.key === '/' && document.activeElement !== input) {
      event.preventDefault();
      input.focus();
    }
    if (event.key === 'Escape' && document.activeElement === input) {
      input.value = '';
      pick();
    }
  });
  var asked = /^#team=(.+)$/.exec(location.hash);
  if (asked) {
    input.value = decodeURIComponent(asked[1]);
    pick();
  }
})();
