package pacs

import (
	"errors"
	"strings"
	"time"
)

var (
	errDate  = errors.New("takes a date as YYYYMMDD or a range as YYYYMMDD-YYYYMMDD, open at either end")
	errTime  = errors.New("takes a time as HH, HHMM or HHMMSS or a range of them as HHMM-HHMM, open at either end")
	errRange = errors.New("is a range that ends before it begins")
)

// ParseDateRange reads a DA value or range, PS3.4 C.2.2.2.5.1. The error goes on
// from the name of what was given: "takes a date as ...".
func ParseDateRange(v string) (DateRange, error) {
	from, to, isRange := strings.Cut(strings.TrimSpace(v), "-")
	if !isRange {
		to = from
	}
	if from == "" && to == "" {
		return DateRange{}, errDate
	}
	for _, d := range []string{from, to} {
		if d == "" {
			continue
		}
		if _, err := time.Parse("20060102", d); err != nil {
			return DateRange{}, errDate
		}
	}
	if from != "" && to != "" && from > to {
		return DateRange{}, errRange
	}
	return DateRange{From: from, To: to}, nil
}

// ParseTimeRange reads a TM value or range, PS3.4 C.2.2.2.5.2. A value without
// minutes, seconds or fractions means all that it leaves open: 10 is from
// 100000 to 105959.999999. Errors are as those of ParseDateRange.
func ParseTimeRange(v string) (DateRange, error) {
	r, err := parseTimes(v)
	if err == nil && r.From != "" && r.To != "" && r.From > r.To {
		return DateRange{}, errRange
	}
	return r, err
}

func parseTimes(v string) (DateRange, error) {
	from, to, isRange := strings.Cut(strings.TrimSpace(v), "-")
	if !isRange {
		to = from
	}
	if from == "" && to == "" {
		return DateRange{}, errTime
	}
	if from != "" {
		whole, fraction, ok := splitTime(from)
		if !ok {
			return DateRange{}, errTime
		}
		from = whole + "000000"[len(whole):]
		if fraction != "" {
			from += "." + fraction
		}
	}
	if to != "" {
		whole, fraction, ok := splitTime(to)
		if !ok {
			return DateRange{}, errTime
		}
		to = whole + "235959"[len(whole):] + "." + fraction + "999999"[len(fraction):]
	}
	return DateRange{From: from, To: to}, nil
}

// CombineRanges makes one range of moments, as YYYYMMDDHHMMSS.FFFFFF, of a range
// of dates and one of times: from the first time on the first date to the last
// time on the last date. Combined date-time matching, PS3.4 C.2.2.2.5.4. The
// times' range may end before it begins.
func CombineRanges(dates, times string) (DateRange, error) {
	d, err := ParseDateRange(dates)
	if err != nil {
		return DateRange{}, err
	}
	t, err := parseTimes(times)
	if err != nil {
		return DateRange{}, err
	}
	var r DateRange
	if d.From != "" {
		r.From = d.From + t.From
	}
	if d.To != "" {
		r.To = d.To + t.To
	}
	if r.From != "" && r.To != "" && d.From == d.To && t.From != "" && t.To != "" && t.From > t.To {
		return DateRange{}, errRange
	}
	return r, nil
}

// splitTime checks a TM value and takes the fraction off it.
func splitTime(s string) (whole, fraction string, ok bool) {
	whole, fraction, dot := strings.Cut(s, ".")
	if dot && (len(whole) != 6 || len(fraction) < 1 || len(fraction) > 6) {
		return "", "", false
	}
	for _, digits := range []string{whole, fraction} {
		if strings.Trim(digits, "0123456789") != "" {
			return "", "", false
		}
	}
	switch {
	case len(whole) != 2 && len(whole) != 4 && len(whole) != 6,
		whole[:2] > "23",
		len(whole) >= 4 && whole[2:4] > "59",
		len(whole) == 6 && whole[4:] > "60": // a leap second
		return "", "", false
	}
	return whole, fraction, true
}
