package graynacos

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestDiskSharedWriters(t *testing.T) {
	d := disk{filepath.Join(t.TempDir(), "a", "b", "graychain.yaml")}
	texts := []string{strings.Repeat("a", 100_000), strings.Repeat("b", 50_000)}
	var wg sync.WaitGroup
	for _, text := range texts {
		wg.Go(func() {
			for range 20 {
				if err := d.save([]byte(text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		got, err := d.load()
		if err != nil {
			t.Fatal(err)
		}
		if s := string(got); got != nil && s != texts[0] && s != texts[1] {
			t.Fatalf("read %d bytes that nobody wrote as a whole", len(got))
		}
	}
	wg.Wait()
	files, err := os.ReadDir(filepath.Dir(d.path))
	if err != nil || len(files) != 1 {
		t.Errorf("%d files, %v; want the document alone", len(files), err)
	}
}

func TestNewDiskKeepsDocumentsApart(t *testing.T) {
	seen := map[string]string{}
	for _, c := range [][4]string{
		{"", "c", "G", "d"}, {"ns", "c", "G", "d"}, {"", "c2", "G", "d"}, {"", "c", "G2", "d"}, {"", "c", "G", "d2"},
		{"..", "c", "G", "d"}, {"a/b", "c", "G", "d"}, {"a%2Fb", "c", "G", "d"},
	} {
		d, err := newDisk("/state", c[0], c[1], c[2], c[3])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(d.path, "/state/") || strings.Contains(d.path, "..") {
			t.Errorf("%v: %q leaves the state folder", c, d.path)
		}
		if other, twice := seen[d.path]; twice {
			t.Errorf("%v and %s share %q", c, other, d.path)
		}
		seen[d.path] = strings.Join(c[:], ",")
	}
}

func TestDiskBoundsWhatItReads(t *testing.T) {
	d := disk{filepath.Join(t.TempDir(), "graychain.yaml")}
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.path, maxDocument+1); err != nil {
		t.Fatal(err)
	}
	if _, err := d.load(); err == nil {
		t.Error("a document above the bound was read")
	}
}
