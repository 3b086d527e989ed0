package guard

import (
	"slices"
	"strings"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
)

// defaultFiles is how many files one request may hold where no policy says.
const defaultFiles = 32

// files asks of the files of a form what the policy asks of them.
func (s *Session) files() {
	s.miss("files: of their content, only size and type were looked at")
	s.filesFrom(len(s.check.Files))
}

// filesFrom looks at the files at hand; count is how many there were so far.
func (s *Session) filesFrom(count int) {
	p := &s.api.files
	if s.on(validate) {
		most := p.Count
		if most == 0 {
			most = defaultFiles
		}
		if count > most {
			s.fault(validate, refusedInvalid, "file.count", sallyport.Place{In: sallyport.InBody}, "", "more files than are let through")
		}
	}
	for i := range s.check.Files {
		f := &s.check.Files[i]
		place := sallyport.Place{In: sallyport.InBody, Name: strings.Clone(f.Field)}
		if s.on(validate) {
			if p.Size > 0 && int64(len(f.Content)) > p.Size && s.form == nil {
				s.fault(validate, refusedTooLarge, "file.size", place, "", "a file is larger than is let through")
			}
			if len(p.Types) > 0 && !slices.ContainsFunc(p.Types, f.Fits) {
				s.fault(validate, refusedInvalid, "file.type", place, "", "the content is "+f.Detected+", which is not let through")
			}
			if p.Extensions != policy.PassIt && doubled(f.Name) {
				s.fault(validate, refusedInvalid, "file.extension", place, "", "a program's extension stands in the name beside another one")
			}
		}
		if !s.on(inspecting) {
			continue
		}
		if f.Text {
			if g := s.p.engine.Check(f.Content, sallyport.InBody, &s.inspected); g.Hit() {
				s.hit(g, place, "in a text that is sent as a file")
			}
		}
		if detail := strangeName(f.Name); detail != "" {
			s.fault(inspecting, refusedAttack, "file.name", place, "traversal", detail)
		}
		if strings.HasPrefix(f.Detected, "image/") && f.Detected != "image/svg+xml" && s.polyglot(f) {
			s.fault(inspecting, refusedAttack, "file.polyglot", place, "code", "an image that holds a program")
		}
	}
}

// strangeName says what is wrong with a file's name: what leads elsewhere, or
// is another name to the file system than to whoever checks it.
func strangeName(name string) string {
	switch {
	case len(name) > 255:
		return "a file's name is longer than file systems take"
	case strings.Contains(name, "\\") || strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), ".."):
		return "a file's name leads elsewhere" // folder/name is what browsers send of a folder
	case strings.ContainsFunc(name, func(r rune) bool {
		return r < 0x20 || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}):
		return "a file's name holds control characters"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "a file's name ends in a dot or space, which some file systems drop"
	case strings.Contains(name, "::$") || len(name) > 1 && name[1] == ':':
		return "a file's name holds a drive or a stream"
	case strings.EqualFold(name, ".htaccess") || strings.EqualFold(name, "web.config") || strings.EqualFold(name, ".user.ini"):
		return "a file's name is that of a web server's settings"
	}
	stem, _, _ := strings.Cut(strings.ToUpper(name[strings.LastIndexByte(name, '/')+1:]), ".")
	if slices.Contains(devices, stem) {
		return "a file's name is that of a device"
	}
	return ""
}

var devices = []string{"CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
	"LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9"}

// programs are extensions of what a server or a desktop runs.
var programs = []string{"php", "php3", "php4", "php5", "php7", "phtml", "phar", "asp", "aspx", "ashx", "jsp", "jspx", "cgi", "pl", "py", "rb", "sh", "exe", "com", "bat", "cmd",
	"scr", "pif", "msi", "dll", "ps1", "vbs", "js", "jar", "war", "hta", "lnk", "shtml"}

// doubled reports whether a name has several extensions of which one is a
// program's, such as report.pdf.exe and shell.php.png. min.js and tar.sh.gz of
// developers are caught as well; a policy lets them pass.
func doubled(name string) bool {
	parts := strings.Split(strings.ToLower(strings.TrimLeft(name, ".")), ".")
	if len(parts) < 3 {
		return false
	}
	return slices.ContainsFunc(parts[1:], func(x string) bool { return slices.Contains(programs, strings.TrimSpace(x)) })
}

// polyglot reports whether the beginning or the end of an image holds code.
func (s *Session) polyglot(f *spec.File) bool {
	b := f.Content
	if n := int(s.api.bounds.Sample); len(b) > 2*n {
		b = append(slices.Clone(b[:n]), b[len(b)-n:]...)
	}
	return programIn(b)
}
