package phantom

import "time"

// uzbekistan is five hours ahead of UTC all year.
var uzbekistan = time.FixedZone("+05", 5*60*60)

// DemoStudies is the set that a demonstration sends: nine studies of six
// patients in three facilities, about 330 MB. Names come in Cyrillic and
// Latin letters and in three character sets, two patients have the same
// number in different hospitals, and two have a prior.
//
// The newest studies are of the day of now, the priors months older. UIDs
// depend on that day: whoever wants the same studies again tomorrow passes the
// same now again.
func DemoStudies(now time.Time) []*Study {
	// Morning studies should not lie in the future.
	today := now.Add(-9 * time.Hour).In(uzbekistan)
	on := func(months, days, hour, minute int) time.Time {
		return time.Date(today.Year(), today.Month()-time.Month(months), today.Day()-days, hour, minute, 0, 0, uzbekistan)
	}
	karimovAli := Patient{
		Family: "Каримов", Given: "Али", Patronymic: "Бахтиёрович", ID: "U-004512", Issuer: "URGUT",
		PINFL: "31205581234567", Sex: "M", BirthDate: "19580512", CharacterSet: "ISO_IR 144",
	}
	gulomova := Patient{
		Family: "Gʻulomova", Given: "Oʻgʻiloy", Patronymic: "Sobir qizi", ID: "10025",
		PINFL: "41703892345671", Sex: "F", BirthDate: "19890317", CharacterSet: "ISO_IR 192",
	}
	rahimov := Patient{
		Family: "Рахимов", Given: "Салим", Patronymic: "Турсунович", ID: "88120",
		PINFL: "32811493456781", Sex: "M", BirthDate: "19491128", CharacterSet: "ISO_IR 144",
	}
	qodirova := Patient{
		Family: "Қодирова", Given: "Ҳилола", Patronymic: "Ғайратовна", ID: "U-007733", Issuer: "URGUT",
		PINFL: "40906714567891", Sex: "F", BirthDate: "19710609", CharacterSet: "ISO_IR 192",
	}
	karimovSherzod := Patient{
		Family: "KARIMOV", Given: "SHERZOD", ID: "10025",
		PINFL: "52304025678912", Sex: "M", BirthDate: "20020423",
	}
	yusupova := Patient{
		Family: "Yusupova", Given: "Malika", ID: "10311",
		PINFL: "41510846789123", Sex: "F", BirthDate: "19841015", CharacterSet: "ISO_IR 192",
	}
	urgut := func(s Study) *Study {
		s.FacilityCode, s.CallingAE, s.StationName = "URGUT", "URGUT_CT1", "CT1"
		s.Institution, s.ReferringPhysician = "Urgut district hospital", "Nazarov^Bobur"
		return &s
	}
	nukus := func(ae, station string, s Study) *Study {
		s.FacilityCode, s.CallingAE, s.StationName = "NUKUS", ae, station
		s.Institution, s.ReferringPhysician = "Nukus city hospital", "Allambergenov^Rustam"
		return &s
	}
	chust := func(ae, station string, s Study) *Study {
		s.FacilityCode, s.CallingAE, s.StationName = "CHUST", ae, station
		s.Institution, s.ReferringPhysician = "Chust district hospital", "Ergasheva^Dilnoza"
		return &s
	}
	return []*Study{
		urgut(Study{
			Patient: karimovAli, Kind: HeadCT, Seed: 101, Date: on(7, 4, 15, 20), Accession: "UR260411", Slices: 120,
			Description: "CT head", Reason: "Headache, hypertension",
		}),
		urgut(Study{
			Patient: karimovAli, Kind: HeadCT, Seed: 101, Date: on(0, 0, 8, 42), Accession: "UR261187",
			Description: "CT head stroke", Reason: "Acute stroke? Right-sided weakness for two hours", Finding: Haemorrhage,
		}),
		nukus("NUKUS_MR1", "MR1", Study{
			Patient: gulomova, Kind: BrainMR, Seed: 202, Date: on(11, 9, 11, 5), Accession: "NK251206",
			Description: "MRI brain", Reason: "Optic neuritis", Finding: Plaques, FindingSize: 0.5,
		}),
		nukus("NUKUS_MR1", "MR1", Study{
			Patient: gulomova, Kind: BrainMR, Seed: 202, Date: on(0, 0, 7, 30), Accession: "NK261142",
			Description: "MRI brain", Reason: "Multiple sclerosis, follow-up", Finding: Plaques,
		}),
		chust("CHUST_CT1", "CT1", Study{
			Patient: rahimov, Kind: ChestCT, Seed: 303, Date: on(0, 0, 6, 58), Accession: "CH260934",
			Description: "CT chest with contrast", Reason: "Shadow in the right lung on the radiograph", Finding: LungNodule,
		}),
		urgut(Study{
			Patient: qodirova, Kind: AbdomenCT, Seed: 404, Date: on(0, 0, 7, 51), Accession: "UR261185",
			Description: "CT abdomen, portal phase", Reason: "Liver lesion on ultrasound", Finding: LiverLesion,
		}),
		chust("CHUST_DX1", "DX1", Study{
			Patient: karimovSherzod, Kind: ChestXRay, Seed: 505, Date: on(0, 0, 8, 15), Accession: "CH260936",
			Description: "Chest X-ray PA", Reason: "Fever and cough, pneumonia?", Finding: Pneumonia,
		}),
		nukus("NUKUS_CR1", "CR1", Study{
			Patient: yusupova, Kind: ChestXRay, Seed: 606, Date: on(0, 1, 10, 10), Accession: "NK261139",
			Description: "Chest X-ray PA", Reason: "Before surgery", Modality: "CR",
		}),
		nukus("NUKUS_MR1", "MR1", Study{
			Patient: yusupova, Kind: LumbarMR, Seed: 606, Date: on(0, 0, 8, 20), Accession: "NK261143",
			Description: "MRI lumbar spine", Reason: "Low back pain, left leg", Finding: Spondylosis,
		}),
	}
}
