package pacs

import (
	"strconv"
	"time"
)

// AgeAt is a person's age in whole years on the day of the study (now when the
// study has no date). Dates are DICOM dates; false when the birth date is none,
// or later than the study.
func AgeAt(birthDate, studyDate string, now time.Time) (int, bool) {
	born, ok := dateNumber(birthDate)
	if !ok {
		return 0, false
	}
	day, ok := dateNumber(studyDate)
	if !ok {
		day, _ = dateNumber(now.Format(dicomDate))
	}
	if day < born {
		return 0, false
	}
	// As numbers, YYYYMMDD dates differ by 10000 for each birthday passed.
	return (day - born) / 10000, true
}

const dicomDate = "20060102"

func dateNumber(date string) (int, bool) {
	if _, err := time.Parse(dicomDate, date); err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(date)
	return n, err == nil
}
