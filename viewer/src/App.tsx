import { lazy, Suspense, useEffect, useState } from 'react';
import { ApiError, api, whenSessionEnds } from './api/client';
import type { Language, Session } from './api/schema';
import { ProblemNote } from './parts/problem';
import { goTo, useRoute } from './parts/route';
import { mayReject, type Room, roomsFor, SessionProvider, ViewersProvider } from './parts/session';
import { chosenBefore, TopBar } from './parts/topbar';
import { PatientsRoom } from './rooms/patients/PatientsRoom';
import { RejectedRoom } from './rooms/patients/RejectedRoom';
import { ReportsRoom } from './rooms/reports/ReportsRoom';
import { SignIn } from './rooms/signin/SignIn';
import { WorklistRoom } from './rooms/worklist/WorklistRoom';
import { speak, useWords } from './words';

// The image engine is most of the program; these two rooms bring it.
const ReadingRoom = lazy(() => import('./rooms/reading/ReadingRoom'));
const warmUp = async () => (await import('./rooms/reading/ReadingRoom')).warmUp();
const StudyRoom = lazy(() => import('./rooms/patients/StudyRoom'));
const OrdersRoom = lazy(() => import('./rooms/orders/OrdersRoom'));
const AdministrationRoom = lazy(() => import('./rooms/administration/AdministrationRoom'));

type State = { kind: 'starting' } | { kind: 'unreachable'; error: unknown } | { kind: 'out'; ended: boolean } | { kind: 'in'; session: Session };

export function App() {
  const [state, setState] = useState<State>({ kind: 'starting' });
  const route = useRoute();
  const { t } = useWords();

  const start = () => {
    api.session().then(
      (session) => setState({ kind: 'in', session }),
      (error) => setState(error instanceof ApiError && error.problem.status === 401 ? { kind: 'out', ended: false } : { kind: 'unreachable', error }),
    );
  };
  useEffect(start, []);
  useEffect(() => whenSessionEnds(() => setState({ kind: 'out', ended: true })), []);

  if (state.kind === 'starting') return <main className="waiting" aria-busy="true" aria-label={t('state.loading')} />;
  if (state.kind === 'unreachable') {
    return (
      <main className="waiting">
        <h1>Tasvir</h1>
        <ProblemNote error={state.error} retry={start} />
      </main>
    );
  }
  if (state.kind === 'out') {
    return (
      <SignIn
        ended={state.ended}
        onSignedIn={(session) => {
          setState({ kind: 'in', session });
          // What was chosen on the sign-in page goes before what the account remembers.
          const chosen = sessionStorage.getItem(chosenBefore) as Language | null;
          sessionStorage.removeItem(chosenBefore);
          if (chosen) api.setLanguage(chosen).catch(() => {});
          else void speak(session.user.language);
        }}
      />
    );
  }

  const { user, viewers = [] } = state.session;
  const rooms = roomsFor(user.roles);
  const signOut = () => {
    api.signOut().catch(() => {});
    goTo('');
    setState({ kind: 'out', ended: false });
  };

  const [room, subject] = route;
  let content: React.ReactNode;
  let barRoom: Room | undefined;
  const wait = <main className="waiting" aria-busy="true" aria-label={t('state.loading')} />;
  if (room === 'read' && subject && rooms.includes('worklist')) {
    content = (
      <Suspense fallback={wait}>
        <ReadingRoom key={subject} taskId={subject} />
      </Suspense>
    );
  } else if (room === 'study' && subject && rooms.includes('patients')) {
    barRoom = 'patients';
    content = (
      <Suspense fallback={wait}>
        <StudyRoom key={subject} studyUID={subject} />
      </Suspense>
    );
  } else if (room === 'rejected' && rooms.includes('patients') && mayReject(user.roles)) {
    barRoom = 'patients';
    content = <RejectedRoom />;
  } else {
    barRoom = rooms.includes(room as Room) ? (room as Room) : rooms[0];
    if (barRoom === 'worklist') content = <WorklistRoom warmUp={warmUp} onSignOut={signOut} />;
    else if (barRoom === 'reports') content = <ReportsRoom />;
    else if (barRoom === 'patients') content = <PatientsRoom />;
    else if (barRoom === 'orders') {
      content = (
        <Suspense fallback={wait}>
          <OrdersRoom />
        </Suspense>
      );
    } else if (barRoom === 'administration') {
      content = (
        <Suspense fallback={wait}>
          <AdministrationRoom tab={subject} />
        </Suspense>
      );
    } else content = <main className="waiting">{t('problem.noRooms')}</main>;
  }
  return (
    <SessionProvider value={user}>
      <ViewersProvider value={viewers}>
        {barRoom && barRoom !== 'worklist' && <TopBar room={barRoom} onSignOut={signOut} />}
        {content}
      </ViewersProvider>
    </SessionProvider>
  );
}
