// What a visitor of the demo sees at /: the reports that have arrived.

const escape = (value) =>
  String(value ?? '').replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);

const WORDS = { final: 'final', corrected: 'corrected', appended: 'addendum', amended: 'amended', preliminary: 'preliminary', 'entered-in-error': 'withdrawn' };

const nameOf = (patient) => {
  const name = patient?.name?.[0];
  return name?.text ?? [name?.family, ...(name?.given ?? []), ...(name?.suffix ?? [])].filter(Boolean).join(' ');
};

const time = (instant) =>
  instant
    ? new Intl.DateTimeFormat('ru-RU', { timeZone: 'Asia/Tashkent', dateStyle: 'short', timeStyle: 'medium' }).format(new Date(instant))
    : '';

export function pdfOf(repository, id) {
  const report = repository.resources.get('DiagnosticReport')?.get(id);
  const form = report?.presentedForm?.find((attachment) => attachment.contentType === 'application/pdf' && attachment.data);
  return form && Buffer.from(form.data, 'base64');
}

export function page(repository, flags) {
  const reports = repository.all('DiagnosticReport').sort((a, b) => b.meta.lastUpdated.localeCompare(a.meta.lastUpdated));
  const rows = reports.map((report) => {
    const patient = repository.resources.get('Patient')?.get(report.subject?.reference?.split('/')[1]);
    const versions = repository.history.get('DiagnosticReport').get(report.id).length;
    const pdf = pdfOf(repository, report.id) ? `<a href="/_sandbox/reports/${escape(report.id)}.pdf">PDF</a>` : '';
    const status = `<span class="${escape(report.status)}">${escape(WORDS[report.status] ?? report.status)}</span>`;
    return `<tr><td>${escape(time(report.meta.lastUpdated))}</td><td>${status}</td><td>${versions}</td>
<td>${escape(nameOf(patient))}<small>${escape(patient?.birthDate)}</small></td>
<td>${escape(report.code?.text)}<small>${escape(report.identifier?.[0]?.value)}</small></td>
<td class="text">${escape((report.conclusion ?? '').slice(0, 240))}</td>
<td>${pdf} <a href="/fhir/DiagnosticReport/${escape(report.id)}">JSON</a></td></tr>`;
  });
  const counts = ['Patient', 'ImagingStudy', 'DiagnosticReport'].map((type) => `${type} ${repository.all(type).length}`).join(' · ');
  const switches = ['no-conditional-create', 'no-imaging-study', 'no-endpoint'].filter((name) => flags[name]).map((name) => `--${name}`).join(' ');
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5"><title>FHIR platform (sandbox)</title><style>
body{margin:0;padding:24px;background:#0a0a0b;color:#e8e8ea;font:15px/1.45 system-ui,"Noto Sans","DejaVu Sans",sans-serif}
h1{font-size:20px;margin:0 0 4px}p{color:#a2a2a8;margin:0 0 20px}a{color:#4c8dff}
table{width:100%;border-collapse:collapse;background:#141416;font-variant-numeric:tabular-nums}
th{text-align:left;color:#a2a2a8;font-weight:normal;font-size:13px}th,td{padding:8px 12px;border-bottom:1px solid #2a2a2e;vertical-align:top}
small{display:block;color:#a2a2a8}.text{max-width:34em;white-space:pre-line}.final{color:#46b36b}.corrected,.amended,.appended{color:#f2cc3d}.entered-in-error{color:#ff5a52}
</style></head><body><h1>National platform, sandbox</h1>
<p>Reports that have arrived. ${escape(counts)}${switches ? ` · ${escape(switches)}` : ''} · <a href="/fhir/metadata">metadata</a></p>
${rows.length > 0 ? `<table><tr><th>received (Tashkent)</th><th>status</th><th>version</th><th>patient</th><th>report</th><th>conclusion</th><th></th></tr>${rows.join('\n')}</table>` : '<p>None yet. Sign a report in Tasvir and it appears here.</p>'}
</body></html>`;
}
