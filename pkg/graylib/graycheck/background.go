package graycheck

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strconv"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"
)

// graylibPath is the package whose Detach a fix may name.
const graylibPath = "github.com/graychain/graychain/pkg/graylib"

func (c *checker) isBackground(call *ast.CallExpr) bool {
	fn := typeutil.Callee(c.pass.TypesInfo, call)
	return isObject(fn, "context", "Background") || isObject(fn, "context", "TODO")
}

// background reports an empty context where that of a request is at hand.
func (c *checker) background(cur inspector.Cursor, call *ast.CallExpr, src *source) {
	if c.isFallback(cur, src) {
		return
	}
	advice := fmt.Sprintf("pass %s on, or graylib.Detach(%[1]s) where the work outlives the request", src.name())
	if src.param == nil {
		advice = "give the parameter a name and pass it on"
	}
	c.report(analysis.Diagnostic{
		Pos: call.Pos(), End: call.End(), Category: categoryBackground,
		Message:        fmt.Sprintf("%s loses the tag, request id and trace of %s: %s", types.ExprString(call), src.name(), advice),
		SuggestedFixes: c.fixBackground(cur, call, src),
	})
}

// isFallback tells whether the empty context is compared with another, or stands in an if that found the request's
// context, the request or the stream nil.
func (c *checker) isFallback(cur inspector.Cursor, src *source) bool {
	if e, ok := cur.Parent().Node().(*ast.BinaryExpr); ok && (e.Op == token.EQL || e.Op == token.NEQ) {
		return true
	}
	child := cur.Node()
	for up := range cur.Enclosing() {
		switch n := up.Node().(type) {
		case *ast.FuncDecl, *ast.FuncLit:
			return false
		case *ast.IfStmt:
			if child == n.Body && c.comparesToNil(n.Cond, token.EQL, src) || child == n.Else && c.comparesToNil(n.Cond, token.NEQ, src) {
				return true
			}
		}
		child = up.Node()
	}
	return false
}

// comparesToNil tells whether cond is, or has as an operand of && or ||, a comparison of a context or of the source with nil.
func (c *checker) comparesToNil(cond ast.Expr, op token.Token, src *source) bool {
	e, ok := ast.Unparen(cond).(*ast.BinaryExpr)
	if !ok {
		return false
	}
	if e.Op == token.LAND || e.Op == token.LOR {
		return c.comparesToNil(e.X, op, src) || c.comparesToNil(e.Y, op, src)
	}
	x, y := ast.Unparen(e.X), ast.Unparen(e.Y)
	if c.isNil(x) {
		x, y = y, x
	}
	if e.Op != op || !c.isNil(y) {
		return false
	}
	id, ok := x.(*ast.Ident)
	return isContext(c.pass.TypesInfo.TypeOf(x)) || ok && src.param != nil && c.pass.TypesInfo.Uses[id] == src.param
}

func (c *checker) isNil(e ast.Expr) bool { return c.pass.TypesInfo.Types[e].IsNil() }

// fixBackground replaces the empty context with one that carries what the request's does and ends as late as before.
func (c *checker) fixBackground(cur inspector.Cursor, call *ast.CallExpr, src *source) []analysis.SuggestedFix {
	sel, ok := call.Fun.(*ast.SelectorExpr) // a dot import has none
	if !ok || !c.namesSource(src, call.Pos()) {
		return nil
	}
	keep := types.ExprString(sel.X) + ".WithoutCancel"
	if graylib := c.importName(cur, graylibPath); graylib != "" && c.runsApart(cur) {
		keep = graylib + ".Detach"
	}
	text := keep + "(" + src.name() + ")"
	return []analysis.SuggestedFix{{
		Message:   "Use " + text,
		TextEdits: []analysis.TextEdit{{Pos: call.Pos(), End: call.End(), NewText: []byte(text)}},
	}}
}

// namesSource tells whether the source's name means, at pos, the source, or a context made of it under the same name.
func (c *checker) namesSource(src *source, pos token.Pos) bool {
	if src.param == nil {
		return false
	}
	inner := c.pass.Pkg.Scope().Innermost(pos)
	if inner == nil {
		return false
	}
	_, obj := inner.LookupParent(src.param.Name(), pos)
	return obj == src.param || obj != nil && !src.method && isContext(obj.Type())
}

// importName returns the name under which cur's file imports a package, or "".
func (c *checker) importName(cur inspector.Cursor, path string) string {
	for up := range cur.Enclosing((*ast.File)(nil)) {
		for _, imp := range up.Node().(*ast.File).Imports {
			if p, err := strconv.Unquote(imp.Path.Value); err != nil || p != path {
				continue
			}
			if name := c.pass.TypesInfo.PkgNameOf(imp); name != nil && name.Name() != "_" && name.Name() != "." {
				return name.Name()
			}
		}
	}
	return ""
}

// runsApart tells whether cur stands in a function literal that is started by go or given to a pool or timer.
func (c *checker) runsApart(cur inspector.Cursor) bool {
	for lit := range cur.Enclosing((*ast.FuncLit)(nil)) {
		call, ok := lit.Parent().Node().(*ast.CallExpr)
		if !ok {
			continue
		}
		if _, started := lit.Parent().Parent().Node().(*ast.GoStmt); started && ast.Unparen(call.Fun) == lit.Node() {
			return true
		}
		if c.isLauncher(call) {
			return true
		}
	}
	return false
}

// launchers are the functions and methods that run a function in another goroutine, by package and name.
var launchers = map[string][]string{
	"sync":                                   {"Go"},
	"time":                                   {"AfterFunc"},
	"golang.org/x/sync/errgroup":             {"Go", "TryGo"},
	"github.com/panjf2000/ants/v2":           {"Submit"},
	"github.com/bytedance/gopkg/util/gopool": {"Go", "CtxGo"},
}

func (c *checker) isLauncher(call *ast.CallExpr) bool {
	fn := typeutil.Callee(c.pass.TypesInfo, call)
	if fn == nil || fn.Pkg() == nil {
		return false
	}
	for _, name := range launchers[fn.Pkg().Path()] {
		if fn.Name() == name {
			return true
		}
	}
	return false
}
