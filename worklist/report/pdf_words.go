package report

// pdfWords are the labels of a printed report.
type pdfWords struct {
	title                                        string
	patient, sex, male, female, other, birth, id string
	study, modality, date, accession             string
	indication, technique, findings, impression  string
	signed, radiologist, tax                     string
	correction, addendum, version, page          string
}

// pdfLanguages holds the labels by BCP 47 tag. correction, addendum and version
// are formats: date and number of the version before, number, page and pages.
var pdfLanguages = map[string]pdfWords{
	"uz": {
		title:   "Tasviriy tekshiruv xulosasi",
		patient: "Bemor", sex: "Jinsi", male: "erkak", female: "ayol", other: "boshqa", birth: "Tugʻilgan sana", id: "Bemor raqami",
		study: "Tekshiruv", modality: "Usul", date: "Tekshiruv sanasi", accession: "Buyurtma raqami",
		indication: "Koʻrsatma", technique: "Tekshiruv usuli", findings: "Tavsif", impression: "Xulosa",
		signed:      "Imzoladi",
		radiologist: "Vrach-rentgenolog", tax: "STIR",
		correction: "%s dagi %d-versiyaning tuzatilgani",
		addendum:   "%s dagi %d-versiyaga qoʻshimcha",
		version:    "%d-versiya",
		page:       "%d-sahifa, jami %d",
	},
	"uz-Cyrl": {
		title:   "Тасвирий текширув хулосаси",
		patient: "Бемор", sex: "Жинси", male: "эркак", female: "аёл", other: "бошқа", birth: "Туғилган сана", id: "Бемор рақами",
		study: "Текширув", modality: "Усул", date: "Текширув санаси", accession: "Буюртма рақами",
		indication: "Кўрсатма", technique: "Текширув усули", findings: "Тавсиф", impression: "Хулоса",
		signed:      "Имзолади",
		radiologist: "Врач-рентгенолог", tax: "СТИР",
		correction: "%s даги %d-версиянинг тузатилгани",
		addendum:   "%s даги %d-версияга қўшимча",
		version:    "%d-версия",
		page:       "%d-саҳифа, жами %d",
	},
	"ru": {
		title:   "Заключение лучевого исследования",
		patient: "Пациент", sex: "Пол", male: "мужской", female: "женский", other: "другой", birth: "Дата рождения", id: "Номер пациента",
		study: "Исследование", modality: "Метод", date: "Дата исследования", accession: "Номер заказа",
		indication: "Показания", technique: "Методика", findings: "Описание", impression: "Заключение",
		signed:      "Подписал(а)",
		radiologist: "Врач-рентгенолог", tax: "ИНН",
		correction: "Исправление версии %[2]d от %[1]s",
		addendum:   "Дополнение к версии %[2]d от %[1]s",
		version:    "версия %d",
		page:       "страница %d из %d",
	},
	"en": {
		title:   "Diagnostic imaging report",
		patient: "Patient", sex: "Sex", male: "male", female: "female", other: "other", birth: "Date of birth", id: "Patient ID",
		study: "Study", modality: "Modality", date: "Study date", accession: "Accession number",
		indication: "Indication", technique: "Technique", findings: "Findings", impression: "Impression",
		signed:      "Signed by",
		radiologist: "Radiologist", tax: "TIN",
		correction: "Correction of version %[2]d of %[1]s",
		addendum:   "Addendum to version %[2]d of %[1]s",
		version:    "version %d",
		page:       "page %d of %d",
	},
}

// wordsOf returns the labels in a language, and which language that is: English
// stands in for what there is none of.
func wordsOf(language string) (string, pdfWords) {
	if words, ok := pdfLanguages[language]; ok {
		return language, words
	}
	return "en", pdfLanguages["en"]
}

// pinflLabel is the personal number's name, as people call it in each script.
var pinflLabel = map[string]string{"uz": "JShShIR", "uz-Cyrl": "ЖШШИР", "ru": "ПИНФЛ", "en": "PINFL"}

func (w *pdfWords) sexWord(dicomSex string) string {
	switch dicomSex {
	case "M":
		return w.male
	case "F":
		return w.female
	case "O":
		return w.other
	}
	return ""
}
