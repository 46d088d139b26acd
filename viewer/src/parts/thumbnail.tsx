import { useEffect, useRef, useState } from 'react';
import type { Series } from '../api/schema';

/** Of the pictures that the archive keeps ready, the one that suits lists. */
const size = 160;

/** Where the archive gives a small picture of a study or series (PS3.18 10.4, Retrieve Thumbnail). */
export const thumbnailPath = (studyUID: string, seriesUID?: string) => `/dicom-web/studies/${studyUID}${seriesUID ? `/series/${seriesUID}` : ''}/thumbnail?viewport=${size},${size}`;

/** The middle picture of a series, small, once it comes into sight: as the archive keeps it ready, or else drawn here. */
export default function Thumbnail({ studyUID, series }: { studyUID: string; series: Series }) {
  const path = thumbnailPath(studyUID, series.series_uid);
  const [failed, setFailed] = useState<string>();
  const [loaded, setLoaded] = useState<string>();
  if (failed === path) return <Drawn studyUID={studyUID} series={series} />;
  return (
    <img
      className="thumbnail"
      src={path}
      alt={series.description || series.modality}
      loading="lazy"
      decoding="async"
      draggable={false}
      data-state={loaded === path ? 'drawn' : 'waiting'}
      onLoad={() => setLoaded(path)}
      onError={() => setFailed(path)}
    />
  );
}

/** A small picture that stands for a study in a list; an empty place when there is none. */
export function StudyThumbnail({ studyUID, alt }: { studyUID: string; alt: string }) {
  const path = thumbnailPath(studyUID);
  const [failed, setFailed] = useState<string>();
  if (failed === path) return <span className="thumbnail" aria-hidden="true" />;
  return <img className="thumbnail" src={path} alt={alt} loading="lazy" decoding="async" draggable={false} onError={() => setFailed(path)} />;
}

/** Drawn from the frame itself, for what the archive can't decode. */
function Drawn({ studyUID, series }: { studyUID: string; series: Series }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const [state, setState] = useState<'waiting' | 'drawn' | 'none'>('waiting');
  useEffect(() => {
    const canvas = ref.current;
    if (!canvas) return;
    let live = true;
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      import('../engine')
        .then(({ drawThumbnail }) => drawThumbnail(canvas, { studyUID, seriesUID: series.series_uid, middleInstanceUID: series.middle_instance_uid }))
        .then(
          (drawn) => live && setState(drawn ? 'drawn' : 'none'),
          () => live && setState('none'),
        );
    });
    watch.observe(canvas);
    return () => {
      live = false;
      watch.disconnect();
    };
  }, [studyUID, series.series_uid, series.middle_instance_uid]);
  return <canvas ref={ref} className="thumbnail" width={128} height={128} data-state={state} role="img" aria-label={series.description || series.modality} />;
}
