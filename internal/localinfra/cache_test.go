package localinfra

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fill makes a folder whose lib holds jars, as a fetch leaves it.
func fill(t *testing.T, cache string, jars ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp(cache, ".fetch-") //nolint:usetesting // it must lie in the cache, as a fetch's does
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, j := range jars {
		if err := os.WriteFile(filepath.Join(dir, "lib", j), []byte("content of "+j), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var nacosJars = []string{"a.jar", "hessian-3.3.6.jar", "hessian-4.0.63.jar", "nacos-server-3.1.0.jar", "z.jar"}

func TestCacheKeepsAndChecks(t *testing.T) {
	cache := t.TempDir()
	if _, err := nacosProduct.load(cache); err == nil {
		t.Fatal("an empty cache gave a product")
	}
	stored, err := nacosProduct.store(cache, fill(t, cache, nacosJars...))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := nacosProduct.load(cache)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stored.jars, loaded.jars); diff != "" {
		t.Errorf("load after store (-stored +loaded):\n%s", diff)
	}
	var names []string
	for _, j := range strings.Split(loaded.classPath(), ":") {
		names = append(names, filepath.Base(j))
	}
	want := []string{"hessian-4.0.63.jar", "a.jar", "hessian-3.3.6.jar", "nacos-server-3.1.0.jar", "z.jar"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("class path (-want +got):\n%s", diff)
	}

	lib := filepath.Join(loaded.dir, "lib")
	for _, c := range []struct {
		name   string
		damage func() error
		says   string
	}{
		{"cut jar", func() error { return os.Truncate(filepath.Join(lib, "a.jar"), 3) }, "a.jar has 3 bytes instead of"},
		{"missing jar", func() error { return os.Remove(filepath.Join(lib, "z.jar")) }, "z.jar"},
		{"another pom", func() error {
			return os.WriteFile(filepath.Join(loaded.dir, stampFile), []byte(`{"key": "0000"}`), 0o644)
		}, "another pom"},
		{"no stamp", func() error { return os.Remove(filepath.Join(loaded.dir, stampFile)) }, stampFile},
		{"broken stamp", func() error {
			return os.WriteFile(filepath.Join(loaded.dir, stampFile), []byte(`{`), 0o644)
		}, stampFile},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := nacosProduct.store(cache, fill(t, cache, nacosJars...)); err != nil {
				t.Fatal(err) // over the damage of the case before
			}
			if err := c.damage(); err != nil {
				t.Fatal(err)
			}
			if _, err := nacosProduct.load(cache); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("load = %v, want an error with %q", err, c.says)
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(cache, ".*")); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

func TestIncompleteFetchIsRefused(t *testing.T) {
	cache := t.TempDir()
	_, err := nacosProduct.store(cache, fill(t, cache, "hessian-4.0.63.jar", "nacos-server-3.1.0.jar"))
	if err == nil || !strings.Contains(err.Error(), "hessian-3.*.jar is not among the 2 jars") {
		t.Errorf("store = %v, want the missing jar's name", err)
	}
	if _, err := os.Stat(filepath.Join(cache, nacosProduct.title())); err == nil {
		t.Error("an incomplete product stands in the cache")
	}
}

func TestKeyFollowsTheFiles(t *testing.T) {
	other := nacosProduct
	other.source = ""
	if nacosProduct.key() == other.key() || nacosProduct.key() == rocketmqProduct.key() {
		t.Error("products of different files share a key")
	}
	if again := nacosProduct; nacosProduct.key() != again.key() {
		t.Error("a key changes by itself")
	}
}

func TestClassPathOrderDoesNotDependOnTheFolder(t *testing.T) {
	want := nacosProduct.sortJars(nacosJars)
	rapid.Check(t, func(t *rapid.T) {
		got := nacosProduct.sortJars(rapid.Permutation(nacosJars).Draw(t, "jars"))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("order (-want +got):\n%s", diff)
		}
	})
}

func TestWriteJar(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "classes", "p"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "classes", "p", "A.class"), []byte("bytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	jar := filepath.Join(dir, "x.jar")
	if err := writeJar(jar, filepath.Join(dir, "classes")); err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(jar)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, "/") {
			names = append(names, f.Name)
		}
	}
	if diff := cmp.Diff([]string{"p/A.class"}, names); diff != "" {
		t.Errorf("in the jar (-want +got):\n%s", diff)
	}
}

func TestDownloads(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte(`[INFO] Scanning for projects...
[INFO] Downloading from central: https://repo.example/a.pom
[INFO] Downloaded from central: https://repo.example/a.pom (3.0 kB at 12 kB/s)
[INFO] Downloaded from central: https://repo.example/b.jar (4.1 MB at 2.0 MB/s)
[INFO] Downloaded from central: https://repo.example/c.jar (512 B at 2.0 kB/s)
`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := downloads(log).String(), "3 files, 4 MB downloaded"; got != want {
		t.Errorf("downloads = %q, want %q", got, want)
	}
	if got := downloads(log + ".none").String(); got != "nothing to download" {
		t.Errorf("downloads of no log = %q", got)
	}
}

func TestProperties(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "x.properties")
	if err := writeProperties(path, map[string]string{"b": ` leads \ with`, "a": "plain:=#!", "c": "über 😀", "d": "two\nlines\t"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "a=plain:=#!\nb=\\ leads \\\\ with\nc=\\u00FCber \\uD83D\\uDE00\nd=two\\nlines\\t\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}
