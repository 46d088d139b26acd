package viewers

// What is shown to who comes without a session.
var (
	beginPage = page("Tasvir · OHIF",
		"Bu yerda tekshiruvlar Tasvir orqali ochiladi. Tasvirga kiring, tekshiruvni tanlang va «OHIF dasturida ochish» tugmasini bosing.",
		"Бу ерда текширувлар Tasvir орқали очилади. Tasvirга киринг, текширувни танланг ва «OHIF дастурида очиш» тугмасини босинг.",
		"Исследования открываются здесь из Tasvir. Войдите в Tasvir, выберите исследование и нажмите «Открыть в OHIF».",
		"Studies are opened here from Tasvir. Sign in to Tasvir, choose the study and press “Open in OHIF”.")
	laterPage = page("Tasvir · OHIF",
		"Arxiv hozir javob bermayapti. Birozdan soʻng qayta urinib koʻring.",
		"Архив ҳозир жавоб бермаяпти. Бироздан сўнг қайта уриниб кўринг.",
		"Архив сейчас не отвечает. Повторите попытку чуть позже.",
		"The archive does not answer now. Try again in a moment.")
)

func page(title, uzLatn, uzCyrl, ru, en string) string {
	return `<!doctype html><html lang="uz-Latn"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">` +
		`<title>` + title + `</title><style>body{max-width:38rem;margin:12vh auto;padding:0 1rem;font:1.1rem/1.5 system-ui,sans-serif;background:#14181c;color:#e6e9ec}` +
		`p{margin:0 0 1.2rem}</style></head><body><main><p lang="uz-Latn">` + uzLatn + `</p><p lang="uz-Cyrl">` + uzCyrl + `</p><p lang="ru">` + ru +
		`</p><p lang="en">` + en + `</p></main></body></html>`
}
