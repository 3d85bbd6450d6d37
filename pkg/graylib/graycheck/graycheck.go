// Package graycheck is an analyzer that finds where a service loses the tag: calls and goroutines that begin with a
// context of their own although they have that of a request (or message) at hand.
//
//	go install github.com/graychain/graychain/cmd/grayvet@latest
//	go vet -vettool=$(which grayvet) ./...
//
// A function has a request's context in scope where it, or a function literal's surrounding function, has a parameter that
// is a [context.Context], an *http.Request, or a stream (an interface with a method Context() context.Context). Within it
// these are reported:
//
//   - background: context.Background() and context.TODO(), wherever they are used: as an argument, assigned, or as the parent
//     of another context. Left alone are comparisons, and fallbacks inside of an if that found the context (or the
//     request or stream) nil.
//   - request: http.NewRequest whose request is given no context by WithContext or Clone in the same function, and http.Get,
//     Head, Post and PostForm, also as methods of [net/http.Client].
//   - callee: a call (also by go, defer, or as a task of a goroutine pool or timer) of a function of the same package
//     that has no context in scope and makes calls of its own with context.Background() or one of the forms above. Functions
//     named close…, shutdown… or stop… (in either case) end things and carry nothing on: they don't count, nor does what is
//     given to them or to log/slog.
//
// The fixes that it suggests change no behaviour but what the context carries: context.WithoutCancel(ctx) for
// context.Background() (graylib.Detach(ctx) in goroutines of files that import graylib), and
// http.NewRequestWithContext for http.NewRequest. Where the call should end with its request, pass ctx itself.
//
// A line that is meant as it stands bears, at its end or on the line above, a comment that says why:
//
//	//graycheck:ignore the cache is everybody's, no request's
//
// Generated files and tests are left out; the flag -graycheck.tests takes tests in.
package graycheck

import (
	"go/ast"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
)

// The categories of what is reported.
const (
	categoryBackground = "background"
	categoryRequest    = "request"
	categoryCallee     = "callee"
	categoryDirective  = "directive"
)

// Analyzer finds calls and goroutines that lose the request's context. See the package's documentation for its rules.
var Analyzer = newAnalyzer()

func newAnalyzer() *analysis.Analyzer {
	tests := false
	a := &analysis.Analyzer{
		Name:       "graycheck",
		Doc:        "report calls and goroutines that lose the request's context, and with it the tag of its lane",
		URL:        "https://pkg.go.dev/github.com/graychain/graychain/pkg/graylib/graycheck",
		Requires:   []*analysis.Analyzer{inspect.Analyzer},
		ResultType: reflect.TypeFor[struct{}](),
		Run: func(pass *analysis.Pass) (any, error) {
			newChecker(pass, tests).run()
			return struct{}{}, nil
		},
	}
	a.Flags.BoolVar(&tests, "tests", false, "report in _test.go files too")
	return a
}

// checker is one pass over a package.
type checker struct {
	pass    *analysis.Pass
	root    inspector.Cursor
	files   map[*token.File]bool // that are looked at
	ignored ignored
	losing  losing
}

func newChecker(pass *analysis.Pass, tests bool) *checker {
	c := &checker{
		pass: pass, root: pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Root(),
		files: make(map[*token.File]bool), ignored: make(ignored),
	}
	for _, f := range pass.Files {
		file := pass.Fset.File(f.FileStart)
		if ast.IsGenerated(f) || !tests && strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		c.files[file] = true
		c.ignored.read(pass, f)
	}
	return c
}

func (c *checker) run() {
	c.losing = c.findLosing()
	for cur := range c.root.Preorder((*ast.CallExpr)(nil)) {
		call := cur.Node().(*ast.CallExpr)
		if !c.looksAt(call.Pos()) {
			continue
		}
		src := c.sourceOf(cur)
		if src == nil {
			continue
		}
		switch {
		case c.isBackground(call):
			c.background(cur, call, src)
		case c.isRequest(cur, call):
			c.request(call, src)
		default:
			c.callees(call, src)
		}
	}
}

// looksAt tells whether the file at pos is one that is looked at.
func (c *checker) looksAt(pos token.Pos) bool { return c.files[c.pass.Fset.File(pos)] }

// report reports unless a directive says not to.
func (c *checker) report(d analysis.Diagnostic) {
	if !c.ignored.at(c.pass.Fset.Position(d.Pos)) {
		c.pass.Report(d)
	}
}

// place names a position for a message that is about another one.
func (c *checker) place(pos token.Pos) string {
	p := c.pass.Fset.Position(pos)
	p.Filename, p.Column = filepath.Base(p.Filename), 0
	return p.String()
}

// ignored are the lines that bear a directive, by file.
type ignored map[string][]int

const directive = "//graycheck:ignore"

// read takes the directives of a file in, and reports those that give no reason.
func (g ignored) read(pass *analysis.Pass, f *ast.File) {
	for _, group := range f.Comments {
		for _, comment := range group.List {
			reason, ok := strings.CutPrefix(comment.Text, directive)
			if !ok || reason != "" && reason[0] != ' ' {
				continue
			}
			if strings.TrimSpace(reason) == "" {
				pass.Report(analysis.Diagnostic{
					Pos: comment.Pos(), End: comment.End(), Category: categoryDirective,
					Message: directive + " needs a reason after it",
				})
				continue
			}
			p := pass.Fset.Position(comment.Pos())
			g[p.Filename] = append(g[p.Filename], p.Line)
		}
	}
}

// at tells whether a line, or the one above it, bears a directive.
func (g ignored) at(p token.Position) bool {
	lines := g[p.Filename]
	return slices.Contains(lines, p.Line) || slices.Contains(lines, p.Line-1)
}
