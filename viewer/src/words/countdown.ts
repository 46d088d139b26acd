/** How pressing a deadline is; each has a colour of its own, and a word. */
export type Pressure = 'over' | 'urgent' | 'soon' | 'calm';

export interface Countdown {
  /** h:mm as "00:06", "−00:14" when it has passed, "3d 04:10" from two days on. */
  text: string;
  minutes: number;
  pressure: Pressure;
}

/** The time left until a deadline, in whole minutes rounded towards the past. */
export function countdown(deadline: string, now: number, dayMark = 'd'): Countdown {
  const minutes = Math.floor((Date.parse(deadline) - now) / 60_000);
  const size = Math.abs(minutes);
  const two = (n: number) => String(n).padStart(2, '0');
  const days = Math.floor(size / 1440);
  const clock = days >= 2 ? `${days}${dayMark} ${two(Math.floor((size % 1440) / 60))}:${two(size % 60)}` : `${two(Math.floor(size / 60))}:${two(size % 60)}`;
  const pressure: Pressure = minutes < 0 ? 'over' : minutes < 15 ? 'urgent' : minutes < 60 ? 'soon' : 'calm';
  return { text: minutes < 0 ? `−${clock}` : clock, minutes, pressure };
}
