package cache

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// BuildID tells this program from one that was built from other sources or by another compiler, so that neither reads what the other made;
// "" where it cannot be known.
var BuildID = sync.OnceValue(func() string {
	f, err := os.Open(codeFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	if id := goBuildID(f); id != "" {
		return id
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil))
})

// codeFile is the file that holds the code of this package: the executable, or the library that a program in another language has loaded.
// It is "" where neither is known.
func codeFile() string {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		own, _ := os.Executable()
		return own
	}
	defer maps.Close()
	at := uint64(reflect.ValueOf(codeFile).Pointer())
	for lines := bufio.NewScanner(maps); lines.Scan(); { // 00400000-00452000 r-xp 00000000 08:02 173521 /usr/bin/minfc
		fields := strings.Fields(lines.Text())
		first, end, _ := strings.Cut(fields[0], "-")
		from, err1 := strconv.ParseUint(first, 16, 64)
		to, err2 := strconv.ParseUint(end, 16, 64)
		if err1 != nil || err2 != nil || at < from || at >= to || len(fields) < 6 {
			continue
		}
		path := strings.Join(fields[5:], " ")
		if own, err := os.Readlink("/proc/self/exe"); err == nil && own == path {
			return "/proc/self/exe" // also where another file has the name by now
		}
		return path // none where it was deleted: its name ends in "(deleted)" then
	}
	return ""
}

// goID is what the go command writes: hashes of all that went into the program, and of the program. Other build systems write words there
// that are the same for all programs.
var goID = regexp.MustCompile(`^[\w-]{20}/[\w-]{20}/[\w-]{20}/[\w-]{20}$`)

// goBuildID is the id that the go command gave a program, "" if there is none.
func goBuildID(r io.ReaderAt) string {
	f, err := elf.NewFile(r)
	if err != nil {
		return ""
	}
	s := f.Section(".note.go.buildid")
	if s == nil {
		return ""
	}
	const before = 12 + 4 // sizes of name and id, a type, the name "Go\0\0"
	note, err := s.Data()
	if err != nil || len(note) < before {
		return ""
	}
	id := strings.TrimRight(string(note[before:]), "\x00")
	if !goID.MatchString(id) {
		return ""
	}
	return id
}
