package graylib_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// designTag is the expression of DESIGN.md, "Words".
var designTag = regexp.MustCompile(`\A[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?\z`)

func reserved(s string) bool { return s == "baseline" || s == "none" || s == "other" }

// checkTag compares ParseTag with the expression.
func checkTag(t interface {
	Helper()
	Fatalf(string, ...any)
}, s string) {
	t.Helper()
	tag, err := graylib.ParseTag(s)
	want := s == "" || designTag.MatchString(s) && !reserved(s)
	switch {
	case want && (err != nil || string(tag) != s):
		t.Fatalf("ParseTag(%q) = %q, %v; want it", s, tag, err)
	case !want && (!errors.Is(err, graylib.ErrMalformedTag) || tag != graylib.Untagged):
		t.Fatalf("ParseTag(%q) = %q, %v; want ErrMalformedTag and no tag", s, tag, err)
	case graylib.Tag(s).Valid() != want:
		t.Fatalf("Tag(%q).Valid() = %v, ParseTag says otherwise", s, !want)
	case err != nil && len(err.Error()) > 1000:
		t.Fatalf("an error of %d bytes about a value of %d", len(err.Error()), len(s))
	}
}

func TestParseTag(t *testing.T) {
	good := []string{"", "g", "gray", "0", "a-b", "a--b", "v2-1", strings.Repeat("a", 32), "baseline2", "nones", "a" + strings.Repeat("-", 30) + "b"}
	bad := []string{
		"baseline", "none", "other", "-", "-a", "a-", "Gray", "gray ", " gray", "gr_ay", "a.b", "a\n", "\n", "grä", "a\x00", "gray,blue",
		strings.Repeat("a", 33), strings.Repeat("a", 1<<20), "ａ",
	}
	for _, s := range good {
		checkTag(t, s)
		if _, err := graylib.ParseTag(s); err != nil {
			t.Errorf("ParseTag(%q): %v", s, err)
		}
	}
	for _, s := range bad {
		checkTag(t, s)
		if _, err := graylib.ParseTag(s); err == nil {
			t.Errorf("ParseTag(%.40q): no error", s)
		}
	}
}

func TestParseTagNamesTheValue(t *testing.T) {
	_, err := graylib.ParseTag("Gray")
	if err == nil || !strings.Contains(err.Error(), `"Gray"`) || !strings.Contains(err.Error(), "a-z") {
		t.Errorf("error %v: want the quoted value and what it may be", err)
	}
}

func TestParseTagIsTheDesignsExpression(t *testing.T) {
	near := rapid.StringOfN(rapid.SampledFrom([]rune("az09-Ab_ \n.ä")), 0, 36, -1)
	matching := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		checkTag(t, rapid.OneOf(near, matching, rapid.String()).Draw(t, "tag"))
	})
}

func FuzzParseTag(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) { checkTag(t, s) })
}

func TestTagString(t *testing.T) {
	if got := graylib.Untagged.String(); got != "-" {
		t.Errorf("untagged prints %q", got)
	}
	if got := graylib.Tag("gray").String(); got != "gray" {
		t.Errorf("gray prints %q", got)
	}
}
