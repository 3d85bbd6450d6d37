package verdict

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/graychain/graychain/pkg/graylib"
)

// History is what was read of journals.
type History struct {
	Files     int     `json:"files"`
	Processes int     `json:"processes"`
	Unclosed  int     `json:"unclosed"` // processes that crashed, or run still
	Events    int     `json:"events"`
	Ledger    *Ledger `json:"-"`
}

// ReadHistory reads the journals in all folders into a ledger. The error is that of [graylib.ReadJournals].
func ReadHistory(folders []string) (History, error) {
	h := History{Ledger: NewLedger()}
	type life struct {
		files     []int
		closed    bool
		instances map[string]bool
	}
	lives := make(map[string]*life)
	of := func(folder string, f graylib.JournalFile) *life {
		key := filepath.Join(folder, f.Life)
		if lives[key] == nil {
			lives[key] = &life{instances: make(map[string]bool)}
		}
		return lives[key]
	}
	for _, folder := range folders {
		files, err := graylib.ReadJournals(folder, func(f graylib.JournalFile, e graylib.Event) error {
			h.Events++
			of(folder, f).instances[e.Instance] = true
			h.Ledger.Add(e)
			return nil
		})
		if err != nil {
			return h, err
		}
		for _, f := range files {
			h.Files++
			l := of(folder, f)
			l.files = append(l.files, f.Number)
			l.closed = l.closed || f.Closed
			name := filepath.Base(f.Path)
			switch {
			case f.Lost > 0:
				h.Ledger.Gap(fmt.Sprintf("%s: %d events could not be written or kept", name, f.Lost))
			case f.Removed > 0:
				h.Ledger.Gap(fmt.Sprintf("%s: %d older journals were removed to make room", name, f.Removed))
			case f.Bad > 0:
				h.Ledger.Gap(fmt.Sprintf("%s: %d lines are no events", name, f.Bad))
			}
		}
	}
	h.Processes = len(lives)
	for _, key := range slices.Sorted(maps.Keys(lives)) {
		l := lives[key]
		slices.Sort(l.files)
		if l.files[0] != 1 || l.files[len(l.files)-1] != len(l.files) {
			h.Ledger.Gap(fmt.Sprintf("%s: of its files only the numbers %v are here", filepath.Base(key), l.files))
		}
		if l.closed {
			continue
		}
		h.Unclosed++
		for instance := range l.instances {
			h.Ledger.Crashed(instance)
		}
	}
	return h, nil
}
