import type { Series, Study, StudyDetail } from '../../api/schema';

const pictures = (series: Series[]) => series.filter((s) => s.has_pixels !== false && s.instance_count > 0);

/** The series to begin with: the first by number that is more than a scout, else the largest. */
export function firstSeries(series: Series[]): Series | undefined {
  const candidates = pictures(series).sort((a, b) => (a.number ?? 0) - (b.number ?? 0));
  const largest = Math.max(0, ...candidates.map((s) => s.instance_count));
  return candidates.find((s) => s.instance_count >= Math.min(8, largest)) ?? candidates[0];
}

/** The earlier study to hang beside this one: same modality and same part, then same modality; the newest of them. */
export function priorFor(study: Study, priors: Study[]): Study | undefined {
  const earlier = priors.filter((p) => p.date <= study.date && p.study_uid !== study.study_uid);
  const sameModality = earlier.filter((p) => p.modalities.some((m) => study.modalities.includes(m)));
  const part = study.body_part?.toUpperCase();
  const newest = (list: Study[]) => [...list].sort((a, b) => `${b.date}${b.time ?? ''}`.localeCompare(`${a.date}${a.time ?? ''}`))[0];
  return newest(sameModality.filter((p) => part && p.body_part?.toUpperCase() === part)) ?? newest(sameModality);
}

/** The series of a prior that is most like the one shown: same modality, then like words, then like size. */
export function likeSeries(of: Series | undefined, prior: StudyDetail): Series | undefined {
  const candidates = pictures(prior.series);
  if (!of) return firstSeries(prior.series);
  const words = (s: Series) =>
    new Set(
      (s.description ?? '')
        .toLowerCase()
        .split(/[^\p{L}\p{N}]+/u)
        .filter(Boolean),
    );
  const mine = words(of);
  const score = (s: Series) => {
    let points = s.modality === of.modality ? 100 : 0;
    for (const word of words(s)) if (mine.has(word)) points += 10;
    return points - Math.abs(Math.log((s.instance_count + 1) / (of.instance_count + 1)));
  };
  return [...candidates].sort((a, b) => score(b) - score(a))[0];
}
