package pacs

import "testing"

func TestDisplayName(t *testing.T) {
	for pn, want := range map[string]string{
		"Каримов^Али^Бахтиёрович": "Каримов Али Бахтиёрович",
		"KARIMOV^^ ":         "KARIMOV",
		"Yamada^Tarou=山田^太郎": "Yamada Tarou",
		"":                   "",
	} {
		if got := DisplayName(pn); got != want {
			t.Errorf("DisplayName(%q) = %q, want %q", pn, got, want)
		}
	}
}

func TestOtherScript(t *testing.T) {
	for name, want := range map[string]string{
		"Каримов Али":        "Karimov Ali",
		"Қодирова Ҳилола":    "Qodirova Hilola",
		"ЎРИНБОЕВ ҒАНИ":      "OʻRINBOYEV GʻANI",
		"Ўринбоев Ғани":      "Oʻrinboyev Gʻani",
		"Юсупова Малика":     "Yusupova Malika",
		"Yusupova Malika":    "Юсупова Малика",
		"G'ulomova Oʻgʻiloy": "Ғуломова Ўғилой",
		"Ergashev Shuhrat":   "Эргашев Шуҳрат",
		"KARIMOV SHERZOD":    "КАРИМОВ ШЕРЗОД",
		"山田":                 "",
	} {
		if got := OtherScript(name); got != want {
			t.Errorf("OtherScript(%q) = %q, want %q", name, got, want)
		}
	}
}
