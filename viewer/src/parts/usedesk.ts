import { useEffect, useState } from 'react';
import { Desk } from '../engine';

/** Opens a desk for as long as the component lives. */
export function useDesk(options: { touch?: boolean } = {}): { desk: Desk | undefined; failed: unknown } {
  const [state, setState] = useState<{ desk?: Desk; failed?: unknown }>({});
  const touch = options.touch ?? false;
  useEffect(() => {
    let live = true;
    let mine: Desk | undefined;
    Desk.open({ touch }).then(
      (desk) => {
        if (!live) {
          desk.close();
          return;
        }
        mine = desk;
        setState({ desk });
      },
      (failed) => live && setState({ failed }),
    );
    return () => {
      live = false;
      setState({});
      // The panes give themselves back first, in the same commit.
      queueMicrotask(() => mine?.close());
    };
  }, [touch]);
  return { desk: state.desk, failed: state.failed };
}
