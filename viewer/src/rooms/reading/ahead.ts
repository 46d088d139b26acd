import type { StudyDetail } from '../../api/schema';
import { loadStack } from '../../engine';
import { firstSeries } from './hang';

/** Asks for the metadata of the series that the reading room will begin with. */
export async function prepare(study: StudyDetail): Promise<void> {
  const first = firstSeries(study.series);
  if (first) await loadStack(study.study_uid, first.series_uid);
}
