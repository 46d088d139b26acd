// What FHIR allows in Narrative.div (invariants txt-1 and txt-2 of
// https://hl7.org/fhir/R5/narrative.html): well-formed XHTML of harmless
// elements, one div around it, and some text. medplum takes htmlChecks() for
// true, so it is checked here.

const ELEMENTS = new Set(
  ('a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ' +
    'ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var').split(' ')
);
const ATTRIBUTES = new Set(
  ('abbr align alt axis border cellpadding cellspacing char charoff charset cite class colspan dir frame headers height ' +
    'href hreflang id idref lang longdesc name rel rev rowspan rules scope span src start style summary title type ' +
    'valign width xml:lang xmlns').split(' ')
);
const XHTML = 'http://www.w3.org/1999/xhtml';

// narrativeProblem returns what is wrong with a div, or "".
export function narrativeProblem(div) {
  const open = [];
  let text = false;
  let roots = 0;
  let rest = div;
  while (rest.length > 0) {
    let found;
    if ((found = /^<!--(?:(?!--)[\s\S])*-->/.exec(rest))) {
      // a comment says nothing
    } else if ((found = /^<\/([\w:]+)\s*>/.exec(rest))) {
      if (open.pop() !== found[1]) return `</${found[1]}> closes nothing`;
    } else if ((found = /^<([\w:]+)((?:\s+[\w:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/.exec(rest))) {
      const [, name, attributes, empty] = found;
      if (!ELEMENTS.has(name)) return `<${name}> is not allowed`;
      for (const [, key, double, single] of attributes.matchAll(/([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) {
        const value = double ?? single;
        if (!ATTRIBUTES.has(key)) return `attribute ${key} is not allowed`;
        if (badEntity(value)) return `attribute ${key} holds a bare & or an unknown entity`;
        if ((key === 'href' || key === 'src') && !/^(https?:|mailto:|tel:|data:image\/|#)/i.test(value)) return `${key} goes where it must not`;
      }
      if (open.length === 0) {
        roots++;
        if (name !== 'div' || !attributes.includes(XHTML)) return 'the outermost element is not a div in the XHTML namespace';
      }
      if (name === 'img') text = true;
      if (!empty) open.push(name);
    } else if ((found = /^[^<]+/.exec(rest))) {
      if (badEntity(found[0])) return 'a bare & or an unknown entity';
      // XML 1.0 Char: no control characters but tab, line feed and carriage return.
      if (/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/.test(found[0])) return 'a control character';
      if (found[0].trim() !== '') {
        if (open.length === 0) return 'text outside the div';
        text = true;
      }
    } else {
      return `not well formed near ${JSON.stringify(rest.slice(0, 30))}`;
    }
    rest = rest.slice(found[0].length);
  }
  if (open.length > 0) return `<${open.pop()}> is never closed`;
  if (roots !== 1) return 'there is not exactly one div';
  return text ? '' : 'the div holds no text';
}

const badEntity = (text) => /&(?!(amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[\da-fA-F]{1,6});)/.test(text);
