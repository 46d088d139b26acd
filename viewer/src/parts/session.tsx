import { createContext, useContext } from 'react';
import type { OtherViewer, Role, User } from '../api/schema';

export type Room = 'worklist' | 'reports' | 'patients' | 'orders' | 'administration';

const roomsOf: Record<Role, Room[]> = {
  radiologist: ['worklist', 'reports', 'patients'],
  clinician: ['patients', 'orders'],
  technician: ['patients', 'orders'],
  registrar: ['orders'],
  facility_administrator: ['patients', 'orders', 'administration'],
  administrator: ['worklist', 'reports', 'patients', 'orders', 'administration'],
};

const order: Room[] = ['worklist', 'reports', 'patients', 'orders', 'administration'];

/** The rooms that a person's roles open, the one to start in first. */
export function roomsFor(roles: Role[]): Room[] {
  const open = new Set(roles.flatMap((role) => roomsOf[role] ?? []));
  return order.filter((room) => open.has(room));
}

/** Who may say of images that they are not to be shown, and take that back. */
export const mayReject = (roles: Role[]) => roles.includes('technician') || roles.includes('administrator');

const Context = createContext<User | undefined>(undefined);
export const SessionProvider = Context.Provider;

/** The person who is signed in. */
export function useUser(): User {
  const user = useContext(Context);
  if (!user) throw new Error('nobody is signed in here');
  return user;
}

const Viewers = createContext<OtherViewer[]>([]);
export const ViewersProvider = Viewers.Provider;

/** The viewers of others that the person can open studies in. */
export const useViewers = () => useContext(Viewers);
