package synthetic

import (
	"math"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Uzbek surnames are a father's or grandfather's name with -ov(a) or -ev(a);
// most such names have two parts, so there are many and few are common.
var (
	nameBegins = strings.Fields(`Abdu Ali Aʼzam Boʻri Boy Doʻst Er Eshon Gʻani Hamro Hasan Husan Islom Jahon Joʻra Mamat Mirza
		Muhammad Murod Norma Nor Oblo Omon Ortiq Oʻrin Oy Polvon Qilich Qoʻzi Qurbon Rahmat Roʻzi Safar Sanat Sapar Shodi Sobir Sulton
		Temir Tosh Toʻxta Tur Umar Usta Xol Xoʻja Xudoy Yoʻl Yusuf Ziyo Zokir`)
	nameEnds = strings.Fields(`ali bek berdi boy din doʻst jon karim mat mirza murod nazar niyoz qul rahim rasul sher shoh tosh
		vali xon xoʻja yor`)
	menNames = strings.Fields(`Abbos Abdulla Akmal Akrom Alisher Anvar Aziz Azamat Baxtiyor Bahodir Behzod Bobur Botir Davron Dilshod Doston
		Elyor Erkin Farhod Farrux Gʻayrat Gʻofur Hamid Ibrohim Ilhom Islom Ismoil Jahongir Jamshid Jasur Kamol Karim Komil
		Laziz Mansur Mirzo Murod Muzaffar Nodir Nosir Odil Olim Otabek Oybek Qahramon Qodir Rahim Ravshan Rustam Sanjar Sardor Sherzod Shuhrat
		Sirojiddin Sobir Sunnat Temur Timur Toʻlqin Tohir Ulugʻbek Umid Usmon Vali Xurshid Yoqub Yusuf Zafar Zohid`)
	womenNames = strings.Fields(`Adolat Aziza Barno Dildora Dilfuza Dilnoza Dilorom Durdona Feruza Gavhar Gulbahor Gulchehra Gulnora
		Gulsanam Hilola Iroda Kamola Laylo Lobar Lola Madina Mahliyo Malika Manzura Maftuna Mavluda Mohira Munira Muborak Nafisa Nargiza Nigora
		Nilufar Nodira Oydin Oygul Oʻgʻiloy Rahima Ra'no Saida Sevara Shahnoza Shoira Surayyo Tursunoy Umida Xolida Yulduz Zamira Zarina
		Zebo Zilola Zuhra`)
	russianSurnames = strings.Fields(`Иванов Смирнов Кузнецов Попов Васильев Петров Соколов Михайлов Новиков Фёдоров Морозов Волков Алексеев
		Лебедев Семёнов Егоров Павлов Козлов Степанов Николаев Орлов Андреев Макаров Никитин Захаров Зайцев Соловьёв Борисов Яковлев Григорьев
		Романов Воробьёв Сергеев Фролов Александров Дмитриев Королёв Гусев Киселёв Ильин Максимов Поляков Сорокин Виноградов Ковалёв Белов
		Медведев Антонов Тарасов Жуков Баранов Филиппов Комаров Давыдов Беляев Герасимов Богданов Осипов Сидоров Матвеев Титов Марков Щербаков
		Цветков Юдин Эргашев Ким Пак Цой Хван`)
	russianMen     = strings.Fields(`Александр Сергей Владимир Андрей Алексей Николай Дмитрий Михаил Игорь Юрий Олег Виктор Евгений Павел Артём`)
	russianFathers = strings.Fields(`Александров Сергеев Владимиров Андреев Алексеев Николаев Дмитриев Михайлов Игорев Юрьев Олегов Викторов Евгеньев`)
	russianWomen   = strings.Fields(`Елена Ольга Наталья Татьяна Ирина Светлана Анна Мария Людмила Галина Юлия Екатерина Валентина Нина Ксения`)
)

// commonly picks one of n, the first ones more often than the last: their
// frequencies fall by about Zipf's law.
func commonly(r *rand.Rand, n int) int {
	return min(int(math.Exp(r.Float64()*math.Log(float64(n+1)))-1), n-1)
}

// surnames is how many different Uzbek family names there are.
var surnames = len(menNames) + len(nameBegins)*len(nameEnds)

// surname is the nth most common family name.
func surname(n int, woman bool) string {
	root := ""
	if n < len(menNames) {
		root = menNames[n*37%len(menNames)] // not by alphabet
	} else {
		n = (n - len(menNames)) * 389 % (len(nameBegins) * len(nameEnds))
		root = nameBegins[n%len(nameBegins)] + nameEnds[n/len(nameBegins)]
	}
	end := "ov"
	if last := root[len(root)-1]; last == 'a' || last == 'o' || last == 'i' || last == 'y' || last == 'u' {
		end = "yev"
	}
	if woman {
		end += "a"
	}
	return root + end
}

// personName makes a name as a device sends it, PS3.5 6.2.1.
func personName(r *rand.Rand, woman bool) string {
	if r.IntN(100) < 8 {
		return russianName(r, woman)
	}
	given := menNames
	if woman {
		given = womenNames
	}
	parts := []string{
		surname(commonly(r, surnames), woman),
		given[r.IntN(len(given))],
	}
	if father := menNames[r.IntN(len(menNames))]; r.IntN(10) < 7 {
		switch modern := r.IntN(3) == 0; {
		case modern && woman:
			father += " qizi"
		case modern:
			father += " oʻgʻli"
		case woman:
			father += "ovna"
		default:
			father += "ovich"
		}
		parts = append(parts, father)
	}
	name := strings.Join(parts, "^")
	switch way := r.IntN(20); {
	case way < 7: // Latin capitals, and whatever the keyboard has for ʻ
		name = strings.ToUpper(withoutModifiers.Replace(name))
	case way < 10:
		name = withoutTutuq.Replace(name)
	case way < 11:
	case way < 15:
		name = otherScript(name)
	case way < 18:
		name = strings.ToUpper(otherScript(name))
	default:
		name = withoutUzbek.Replace(otherScript(name))
	}
	return name
}

var (
	withoutModifiers = strings.NewReplacer("ʻ", "'", "ʼ", "'")
	withoutTutuq     = strings.NewReplacer("ʻ", "'", "ʼ", "")
	// withoutUzbek is what a device makes of Cyrillic that knows Russian only.
	withoutUzbek = strings.NewReplacer("Ў", "У", "ў", "у", "Қ", "К", "қ", "к", "Ғ", "Г", "ғ", "г", "Ҳ", "Х", "ҳ", "х")
)

// otherScript is pacs.OtherScript, word by word, each only once: there are
// millions of names of some thousand words.
func otherScript(name string) string {
	words := strings.Split(name, "^")
	for i, word := range words {
		other, known := otherWords.Load(word)
		if !known {
			other = pacs.OtherScript(word)
			otherWords.Store(word, other)
		}
		words[i] = other.(string)
	}
	return strings.Join(words, "^")
}

var otherWords sync.Map // word -> the same in the other script

func russianName(r *rand.Rand, woman bool) string {
	family := russianSurnames[commonly(r, len(russianSurnames))]
	father := russianFathers[r.IntN(len(russianFathers))]
	given := russianMen[r.IntN(len(russianMen))]
	if woman {
		given = russianWomen[r.IntN(len(russianWomen))]
		if strings.HasSuffix(family, "в") || strings.HasSuffix(family, "н") {
			family += "а"
		}
		father += "на"
	} else {
		father += "ич"
	}
	name := family + "^" + given + "^" + father
	switch way := r.IntN(10); {
	case way < 4:
		return strings.ToUpper(name)
	case way < 8:
		return name
	}
	return strings.ToUpper(strings.ReplaceAll(otherScript(name), "ʼ", ""))
}
