package forward

import (
	"slices"
	"time"
	_ "time/tzdata" // time zones also where the system has none
)

// DefaultZone is the time zone of windows that name none.
const DefaultZone = "Asia/Tashkent"

// Window is when things are sent: every day, or on some days, from one time of the
// clock to another. One that ends before it begins reaches over midnight and
// belongs to the day on which it begins.
type Window struct {
	From, Until time.Duration  // since midnight, whole minutes, less than a day; the same: all day
	Days        []time.Weekday // empty: every day
	Zone        string         // of the IANA database
}

func (w *Window) check() error {
	const day = 24 * time.Hour
	if w.Zone == "" {
		w.Zone = DefaultZone
	}
	if _, err := w.location(); err != nil {
		return invalid("%q is not a time zone; an example is %s", w.Zone, DefaultZone)
	}
	if w.From < 0 || w.Until < 0 || w.From >= day || w.Until >= day || w.From%time.Minute != 0 || w.Until%time.Minute != 0 {
		return invalid("A time window is from and until a time of day, such as 20:00 and 06:00")
	}
	for _, d := range w.Days {
		if d < time.Sunday || d > time.Saturday {
			return invalid("A day of the week is 0 (Sunday) to 6 (Saturday)")
		}
	}
	slices.Sort(w.Days)
	w.Days = slices.Compact(w.Days)
	return nil
}

func (w *Window) location() (*time.Location, error) {
	if w.Zone == "" || w.Zone == "Local" {
		return nil, errNoZone
	}
	return time.LoadLocation(w.Zone)
}

var errNoZone = invalid("a time zone is needed")

// At says whether the window is open, and until when it stays so, or else when it
// opens. A nil Window is always open, and until is zero.
func (w *Window) At(now time.Time) (open bool, until time.Time) {
	if w == nil {
		return true, time.Time{}
	}
	zone, err := w.location()
	if err != nil {
		return true, time.Time{} // it was checked; a database without the zone stops nothing
	}
	here := now.In(zone)
	for back := -1; back <= 8; back++ {
		// Clocks that are put forward or back are time.Date's matter.
		day := here.AddDate(0, 0, back)
		if len(w.Days) > 0 && !slices.Contains(w.Days, day.Weekday()) {
			continue
		}
		from, end := on(day, w.From), on(day, w.Until)
		if w.Until <= w.From {
			end = on(day.AddDate(0, 0, 1), w.Until)
		}
		switch {
		case !here.Before(end):
		case here.Before(from):
			return false, from
		default:
			return true, end
		}
	}
	return false, now.Add(24 * time.Hour) // not reached: a week has all days
}

func on(day time.Time, clock time.Duration) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), int(clock/time.Hour), int(clock%time.Hour/time.Minute), 0, 0, day.Location())
}
