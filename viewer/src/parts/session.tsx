import { createContext, useContext } from 'react';
import type { Role, User } from '../api/schema';

export type Room = 'worklist' | 'reports' | 'patients' | 'administration';

const roomsOf: Record<Role, Room[]> = {
  radiologist: ['worklist', 'reports', 'patients'],
  clinician: ['patients'],
  technician: ['patients'],
  facility_administrator: ['patients', 'administration'],
  administrator: ['worklist', 'reports', 'patients', 'administration'],
};

const order: Room[] = ['worklist', 'reports', 'patients', 'administration'];

/** The rooms that a person's roles open, the one to start in first. */
export function roomsFor(roles: Role[]): Room[] {
  const open = new Set(roles.flatMap((role) => roomsOf[role] ?? []));
  return order.filter((room) => open.has(room));
}

const Context = createContext<User | undefined>(undefined);
export const SessionProvider = Context.Provider;

/** The person who is signed in. */
export function useUser(): User {
  const user = useContext(Context);
  if (!user) throw new Error('nobody is signed in here');
  return user;
}
