package rulescmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// editor makes an editor of steps: the n-th call runs the n-th one, a line of sh with the file in $1. Each call keeps what
// it was shown in a file of its own.
func editor(t *testing.T, steps ...string) (env map[string]string, shown func(call int) string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	script := "n=$(cat " + dir + "/calls 2>/dev/null || echo 0); n=$((n+1)); echo $n > " + dir + "/calls\ncp \"$1\" " + dir + "/shown-$n\ncase $n in\n"
	for i, s := range steps {
		script += fmt.Sprintf("%d) %s ;;\n", i+1, s)
	}
	script += "*) echo too many calls >&2; exit 9 ;;\nesac\n"
	name := filepath.Join(dir, "editor.sh")
	if err := os.WriteFile(name, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	shown = func(call int) string {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("shown-%d", call)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return map[string]string{"EDITOR": "sh " + name, "VISUAL": ""}, shown
}

// left returns the files that a session left behind.
func left(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

const (
	raise  = `sed -i 's/value: 5/value: 10/' "$1"`
	spoil  = `sed -i 's/op: percent/op: percents/' "$1"`
	mend   = `sed -i 's/op: percents/op: percent/; s/value: 5/value: 10/' "$1"`
	nobody = `true`
)

var raised = strings.NewReplacer("value: 5", "value: 10", "revision: 12", "revision: 13").Replace(published)

func TestEdit(t *testing.T) {
	store := &memStore{content: published}
	env, shown := editor(t, raise)
	stdout, stderr, err := run(t, store, env, "", "edit")
	if err != nil || stderr != "" || !strings.HasPrefix(stdout, "published revision 13 (before: 12) at nacos ") {
		t.Errorf("edit: %v\n%s%s", err, stdout, stderr)
	}
	if store.content != raised || shown(1) != published {
		t.Errorf("shown:\n%s\npublished:\n%s", shown(1), store.content)
	}
	if names := left(t); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestEditNothing(t *testing.T) {
	for name, content := range map[string]string{"of a document": published, "of none": ""} {
		t.Run(name, func(t *testing.T) {
			store := &memStore{content: content}
			env, _ := editor(t, nobody)
			stdout, _, err := run(t, store, env, "", "edit")
			if err != nil || stdout != "nothing changed\n" || store.content != content || len(left(t)) > 0 {
				t.Errorf("edit: %v, %q, left %v, published:\n%s", err, stdout, left(t), store.content)
			}
		})
	}
}

func TestEditTheFirstDocument(t *testing.T) {
	store := &memStore{}
	env, _ := editor(t, `sed -i 's/^#  /  /' "$1"`)
	if _, stderr, err := run(t, store, env, "", "edit"); err != nil {
		t.Fatalf("edit: %v\n%s", err, stderr)
	}
	want := regexp.MustCompile(`(?s)^# The rules.*\nrevision: 1\nlanes:\n  - tag: gray\n    listed: \S+\n    entries:\n`)
	if !want.MatchString(store.content) {
		t.Errorf("published:\n%s", store.content)
	}
}

func TestEditGoesOnAfterARefusal(t *testing.T) {
	store := &memStore{content: published}
	env, shown := editor(t, spoil, mend)
	_, stderr, err := run(t, store, env, "", "edit")
	if err != nil || store.content != raised {
		t.Errorf("edit: %v\n%s\npublished:\n%s", err, stderr, store.content)
	}
	second := shown(2)
	m := regexp.MustCompile(`(?m)^#! line (\d+): lanes\[0\]\.entries\[1\]\.when\[0\]\.op: is "percents"; want one of `).FindStringSubmatch(second)
	if m == nil {
		t.Fatalf("no reason on top of the second try:\n%s", second)
	}
	// The line that it names is the one in the editor.
	lines := strings.Split(second, "\n")
	n := 0
	if _, err := fmt.Sscan(m[1], &n); err != nil || n < 1 || n > len(lines) || !strings.Contains(lines[n-1], "op: percents") {
		t.Errorf("line %s isn't the one at fault:\n%s", m[1], second)
	}
}

func TestEditGivesUp(t *testing.T) {
	store := &memStore{content: published}
	env, _ := editor(t, spoil, nobody)
	_, stderr, err := run(t, store, env, "", "edit")
	if !errors.Is(err, ErrReported) || store.content != published {
		t.Errorf("edit: %v; published:\n%s", err, store.content)
	}
	names := left(t)
	if len(names) != 1 {
		t.Fatalf("left behind: %v", names)
	}
	text, readErr := os.ReadFile(names[0])
	if want := strings.Replace(published, "op: percent", "op: percents", 1); readErr != nil || string(text) != want {
		t.Errorf("%v; the text that is kept:\n%s", readErr, text)
	}
	if !strings.Contains(stderr, "not published; your text is in "+names[0]+"\n") || !strings.Contains(stderr, names[0]+":8: lanes[0].entries[1]") {
		t.Errorf("stderr:\n%s", stderr)
	}
}

func TestEditWhileSomeoneElsePublishes(t *testing.T) {
	store := &memStore{content: published}
	other := strings.Replace(published, "revision: 12", "revision: 13", 1) + "# another's\n"
	dir := t.TempDir()
	beside := filepath.Join(dir, "beside")
	env, shown := editor(t, raise+"; touch "+beside,
		// What the refusal names is there to be read.
		`cp "$(dirname "$1")/published.yaml" `+beside+` && sed -i 's/revision: 12/revision: 13/' "$1" && echo "# another's" >> "$1"`)
	// The other publishes between the reading and the editor's end.
	first := true
	racing := &racingStore{memStore: store, onGet: func() {
		if _, err := os.Stat(beside); err == nil && first {
			first = false
			store.mu.Lock()
			store.content = other
			store.mu.Unlock()
		}
	}}
	_, stderr, err := runWith(t, racing, env, "edit")
	if err != nil {
		t.Fatalf("edit: %v\n%s", err, stderr)
	}
	want := strings.NewReplacer("value: 5", "value: 10", "revision: 12", "revision: 14").Replace(published) + "# another's\n"
	if store.content != want {
		t.Errorf("published:\n%s", store.content)
	}
	if !strings.Contains(shown(2), "#! line 5: revision: 12 is stale, revision 13 is published: ") {
		t.Errorf("the second try:\n%s", shown(2))
	}
	if text, err := os.ReadFile(beside); err != nil || string(text) != other {
		t.Errorf("%v; beside the file:\n%s", err, text)
	}
}

func TestEditorFails(t *testing.T) {
	store := &memStore{content: published}
	env, _ := editor(t, raise+"; exit 3")
	_, stderr, err := run(t, store, env, "", "edit")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || store.content != published {
		t.Errorf("edit: %v", err)
	}
	if names := left(t); len(names) != 1 || !strings.Contains(stderr, names[0]) {
		t.Errorf("left %v, stderr:\n%s", names, stderr)
	}
}
