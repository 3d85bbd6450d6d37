package graycheck

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"
)

// losing are the package's functions that have no context in scope and make calls without one, with the place of the first
// such call.
type losing map[*types.Func]token.Pos

// findLosing looks through the functions that have no context of their own, and through those that call them. What stands in
// function literals doesn't count: it may be a loop of the service's own that the function starts.
func (c *checker) findLosing() losing {
	found := make(losing)
	callers := make(map[*types.Func][]*types.Func)
	var todo []*types.Func
	for cur := range c.root.Preorder((*ast.FuncDecl)(nil)) {
		decl := cur.Node().(*ast.FuncDecl)
		fn, ok := c.pass.TypesInfo.Defs[decl.Name].(*types.Func)
		if !ok || decl.Body == nil || !c.looksAt(decl.Pos()) || ends(fn.Name()) || c.sourceIn(decl.Type) != nil {
			continue
		}
		empty := c.emptyContexts(decl.Body)
		for at := range cur.Preorder((*ast.CallExpr)(nil)) {
			call := at.Node().(*ast.CallExpr)
			if inLiteral(at) || c.ignored.at(c.pass.Fset.Position(call.Pos())) {
				continue
			}
			if callee := c.inPackage(call); callee != nil {
				callers[callee] = append(callers[callee], fn)
			}
			if _, known := found[fn]; !known && (c.isRequest(at, call) || c.passesEmpty(call, empty)) {
				found[fn] = call.Pos()
				todo = append(todo, fn)
			}
		}
	}
	for len(todo) > 0 {
		fn := todo[0]
		todo = todo[1:]
		for _, caller := range callers[fn] {
			if _, known := found[caller]; !known {
				found[caller] = found[fn]
				todo = append(todo, caller)
			}
		}
	}
	return found
}

// inPackage returns the function or method of this package that call calls, or nil.
func (c *checker) inPackage(call *ast.CallExpr) *types.Func {
	fn := typeutil.StaticCallee(c.pass.TypesInfo, call)
	if fn == nil || fn.Pkg() != c.pass.Pkg {
		return nil
	}
	return fn.Origin()
}

func inLiteral(cur inspector.Cursor) bool {
	for fn := range cur.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		_, lit := fn.Node().(*ast.FuncLit)
		return lit
	}
	return false
}

// emptyContexts returns the local variables that are assigned an empty context or one made of it.
func (c *checker) emptyContexts(body *ast.BlockStmt) map[types.Object]bool {
	empty := make(map[types.Object]bool)
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.AssignStmt:
			if len(n.Rhs) == 1 && c.isEmpty(n.Rhs[0], empty) {
				if v := c.defined(n.Lhs[0]); v != nil {
					empty[v] = true
				}
			}
		case *ast.ValueSpec:
			if len(n.Values) == 1 && c.isEmpty(n.Values[0], empty) {
				if v := c.pass.TypesInfo.Defs[n.Names[0]]; v != nil {
					empty[v] = true
				}
			}
		}
		return true
	})
	return empty
}

// isEmpty tells whether e is an empty context, or one that package context makes of it.
func (c *checker) isEmpty(e ast.Expr, empty map[types.Object]bool) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return empty[c.pass.TypesInfo.Uses[e]]
	case *ast.CallExpr:
		if c.isBackground(e) {
			return true
		}
		fn := typeutil.StaticCallee(c.pass.TypesInfo, e)
		return fn != nil && fn.Pkg() != nil && fn.Pkg().Path() == "context" && len(e.Args) > 0 && c.isEmpty(e.Args[0], empty)
	}
	return false
}

// ends tells by its name whether a function ends something and so carries nothing on.
func ends(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "close") || strings.HasPrefix(name, "shutdown") || strings.HasPrefix(name, "stop")
}

// passesEmpty tells whether call hands an empty context to something that would carry a request's on.
func (c *checker) passesEmpty(call *ast.CallExpr, empty map[types.Object]bool) bool {
	fn := typeutil.Callee(c.pass.TypesInfo, call)
	if fn != nil && fn.Pkg() != nil && (fn.Pkg().Path() == "context" || fn.Pkg().Path() == "log/slog") {
		return false
	}
	if fn != nil && ends(fn.Name()) {
		return false
	}
	return slices.ContainsFunc(call.Args, func(arg ast.Expr) bool { return c.isEmpty(arg, empty) })
}

// callees reports what call calls, or submits to a pool or timer, where that makes calls without a context.
func (c *checker) callees(call *ast.CallExpr, src *source) {
	if fn := c.inPackage(call); fn != nil {
		c.callee(call.Fun, fn, src)
		return
	}
	if !c.isLauncher(call) {
		return
	}
	for _, arg := range call.Args {
		var id *ast.Ident
		switch arg := ast.Unparen(arg).(type) {
		case *ast.Ident:
			id = arg
		case *ast.SelectorExpr:
			id = arg.Sel
		default:
			continue
		}
		if fn, ok := c.pass.TypesInfo.Uses[id].(*types.Func); ok {
			c.callee(arg, fn.Origin(), src)
		}
	}
}

func (c *checker) callee(at ast.Expr, fn *types.Func, src *source) {
	pos, ok := c.losing[fn]
	if !ok {
		return
	}
	c.report(analysis.Diagnostic{
		Pos: at.Pos(), End: at.End(), Category: categoryCallee,
		Message: fmt.Sprintf("%s makes calls without a context (%s) and loses the tag, request id and trace of %s: give it a context",
			fn.Name(), c.place(pos), src.name()),
		Related: []analysis.RelatedInformation{{Pos: pos, Message: "a call without the request's context"}},
	})
}
