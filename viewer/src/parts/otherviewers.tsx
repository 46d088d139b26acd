import { useState } from 'react';
import { api } from '../api/client';
import type { OtherViewer } from '../api/schema';
import { useWords } from '../words';
import { ProblemNote } from './problem';
import { useViewers } from './session';

/** Opens a study in the viewers of others that the server offers; nothing where it offers none. */
export function OtherViewers({ studyUID }: { studyUID: string }) {
  const { t } = useWords();
  const viewers = useViewers();
  const [failed, setFailed] = useState<unknown>();

  const open = async (viewer: OtherViewer) => {
    setFailed(undefined);
    // A window has to be opened by the click itself; where it goes is known later.
    const tab = viewer === 'ohif' ? window.open('', '_blank') : null;
    try {
      const { url } = await api.launch(viewer, studyUID);
      if (tab) {
        tab.opener = null;
        tab.location.replace(url);
      } else {
        // weasis:// starts the program and leaves the page; a browser that opens no windows shows OHIF here.
        window.location.assign(url);
      }
    } catch (error) {
      tab?.close();
      setFailed(error);
    }
  };
  return (
    <>
      {viewers.map((viewer) => (
        <button key={viewer} type="button" className="button" onClick={() => void open(viewer)}>
          {t(`study.openIn.${viewer}`)}
        </button>
      ))}
      {failed !== undefined && <ProblemNote error={failed} />}
    </>
  );
}
