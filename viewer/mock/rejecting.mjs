// Rejecting images and taking that back. Routes for server.mjs, data in the
// world: what is hidden of a series is series.hidden, by number.

/** How many instances of a series are shown. */
export const shownOf = (series) => series.slices - (series.hidden?.size ?? 0);

/** Whether an instance of a series is shown, by number. */
export const isShown = (series, n) => !series.hidden?.has(n);

/** A study as others see it: without what is rejected. */
export function withoutRejected(study) {
  const series = study.series.filter((s) => shownOf(s) > 0).map((s) => ({ ...s, instance_count: shownOf(s) }));
  return { ...study, series, series_count: series.length, instance_count: series.reduce((n, s) => n + s.instance_count, 0) };
}

const meanings = {
  113001: 'Rejected for Quality Reasons',
  113037: 'Rejected for Patient Safety Reasons',
  113038: 'Incorrect Modality Worklist Entry',
  113039: 'Data Retention Policy Expired',
};

export function rejectingRoutes({ on, world, sees, Refusal, now, emit }) {
  let notes = 0;
  const may = ({ roles }) => {
    if (!roles.includes('administrator') && !roles.includes('technician')) throw new Refusal(403, 'forbidden', 'Rejecting images needs the permission study.reject.');
  };
  const find = (uid, user) => {
    const study = world().studies.find((s) => s.study_uid === uid && sees(user, s));
    if (!study) throw new Refusal(404, 'not_found', 'There is no such study.');
    return study;
  };
  const show = (study) => ({
    study_uid: study.study_uid,
    facility: { code: study.facility.code, name: study.facility.name },
    patient: { name: study.patient.name.replaceAll(' ', '^'), patient_id: study.patient.id, birth_date: study.patient.birth_date, sex: study.patient.sex },
    date: study.date,
    description: study.description,
    accession: study.accession,
    shown: withoutRejected(study).instance_count,
  });
  const hiddenOf = (study) => study.series.flatMap((s) => [...(s.hidden ?? [])].map(([n, note]) => ({ s, n, note })));

  const reject = ({ args: [study_uid, ...rest], query, res, session: { user } }) => {
    may(user);
    const reason = rest.pop();
    const [series_uid, sop_uid] = rest;
    const back = reason === 'REJECTION_REVOKED';
    if (!back && !meanings[reason]) throw new Refusal(400, 'invalid', `${reason} is no reason for rejecting.`);
    const note = { reason, why: query.get('why'), note_uid: `2.25.${++notes}`, noted_at: now(), sender: user.login };
    let count = 0;
    for (const s of find(study_uid, user).series) {
      if (series_uid && s.series_uid !== series_uid) continue;
      s.hidden ??= new Map();
      for (let n = 1; n <= s.slices; n++) {
        if ((sop_uid && sop_uid !== `${s.series_uid}.${n}`) || s.hidden.has(n) !== back) continue;
        if (back) s.hidden.delete(n);
        else s.hidden.set(n, note);
        count++;
      }
    }
    if (count === 0) throw new Refusal(404, 'not_found', 'Nothing of that is there.');
    // It takes effect a moment after it is answered.
    setTimeout(() => emit('study', { study_uid }), 100);
    res.statusCode = 204;
  };
  on('POST', '/dicom-web/studies/{s}/reject/{c}', reject);
  on('POST', '/dicom-web/studies/{s}/series/{e}/reject/{c}', reject);
  on('POST', '/dicom-web/studies/{s}/series/{e}/instances/{i}/reject/{c}', reject);

  on('GET', '/api/admin/studies/{s}/rejected', ({ args, session: { user } }) => {
    may(user);
    const study = find(args[0], user);
    return {
      study: show(study),
      instances: hiddenOf(study).map(({ s, n, note }) => ({
        series_uid: s.series_uid,
        modality: s.modality,
        series_description: s.description,
        sop_uid: `${s.series_uid}.${n}`,
        sop_class: '1.2.840.10008.5.1.4.1.1.2',
        number: n,
        version: 1,
        meaning: meanings[note.reason],
        ...note,
        why: undefined,
      })),
    };
  });
  on('GET', '/api/admin/rejected', ({ session: { user } }) => {
    may(user);
    const studies = world()
      .studies.filter((s) => sees(user, s) && hiddenOf(s).length > 0)
      .map((s) => ({
        ...show(s),
        rejected: hiddenOf(s).length,
        noted_at: hiddenOf(s)
          .map((h) => h.note.noted_at)
          .sort()
          .at(-1),
      }));
    return { studies: studies.sort((a, b) => b.noted_at.localeCompare(a.noted_at)) };
  });
}
