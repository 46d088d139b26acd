import { useEffect, useRef, useState } from 'react';
import type { Series } from '../api/schema';
import { drawThumbnail } from '../engine';

/** The middle picture of a series, small; drawn once it comes into sight. */
export default function Thumbnail({ studyUID, series }: { studyUID: string; series: Series }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const [state, setState] = useState<'waiting' | 'drawn' | 'none'>('waiting');
  useEffect(() => {
    const canvas = ref.current;
    if (!canvas) return;
    let live = true;
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      drawThumbnail(canvas, { studyUID, seriesUID: series.series_uid, middleInstanceUID: series.middle_instance_uid }).then(
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
