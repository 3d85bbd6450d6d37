package localinfra

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestDamagedArchiveIsNotUsed(t *testing.T) {
	content := bytes.Repeat([]byte("class "), 10000)
	for _, c := range []struct {
		name   string
		damage func(path string) error
		good   bool
	}{
		{"whole", func(string) error { return nil }, true},
		{"cut", func(path string) error { return os.Truncate(path, 4096) }, false},
		{"changed", func(path string) error {
			changed := bytes.Clone(content)
			changed[5000]++
			return os.WriteFile(path, changed, 0o644)
		}, false},
		{"gone", os.Remove, false},
		{"never finished", func(path string) error { return os.Remove(sumPath(path)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "classes.jsa")
			if err := os.WriteFile(path+".fresh", content, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := storeArchive(path+".fresh", path); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(path); err != nil {
				t.Fatal(err)
			}
			if err := checkArchive(path); (err == nil) != c.good {
				t.Errorf("checkArchive = %v, want good = %t", err, c.good)
			}
		})
	}
}
