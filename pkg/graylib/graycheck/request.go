package graycheck

import (
	"fmt"
	"go/ast"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"
)

// contextless are the functions of net/http, and methods of its Client, that send a request without a context.
var contextless = []string{"Get", "Head", "Post", "PostForm"}

// isRequest tells whether call makes a request of net/http that gets no context.
func (c *checker) isRequest(cur inspector.Cursor, call *ast.CallExpr) bool {
	fn, ok := typeutil.Callee(c.pass.TypesInfo, call).(*types.Func)
	if !ok || fn.Pkg() == nil || fn.Pkg().Path() != "net/http" {
		return false
	}
	recv := fn.Signature().Recv()
	switch {
	case fn.Name() == "NewRequest" && recv == nil:
		return !c.givenContext(cur)
	case !slices.Contains(contextless, fn.Name()):
		return false
	case recv == nil:
		return true
	}
	p, ok := recv.Type().(*types.Pointer) // Header and others have a Get too
	return ok && isNamed(p.Elem(), "net/http", "Client")
}

// givenContext tells whether the request that cur makes is given a context in the same function.
func (c *checker) givenContext(cur inspector.Cursor) bool {
	var request types.Object
	switch n := cur.Parent().Node().(type) {
	case *ast.AssignStmt:
		request = c.defined(n.Lhs[0])
	case *ast.ValueSpec:
		request = c.pass.TypesInfo.Defs[n.Names[0]]
	}
	if request == nil {
		return false
	}
	for fn := range cur.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		for call := range fn.Preorder((*ast.CallExpr)(nil)) {
			sel, ok := call.Node().(*ast.CallExpr).Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "WithContext" && sel.Sel.Name != "Clone" {
				continue
			}
			if id, ok := ast.Unparen(sel.X).(*ast.Ident); ok && c.pass.TypesInfo.Uses[id] == request {
				return true
			}
		}
		break
	}
	return false
}

// defined returns the variable that an assignment's left side means, or nil.
func (c *checker) defined(e ast.Expr) types.Object {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		return nil
	}
	return c.pass.TypesInfo.ObjectOf(id)
}

// request reports a request without a context where that of another one is at hand.
func (c *checker) request(call *ast.CallExpr, src *source) {
	c.report(analysis.Diagnostic{
		Pos: call.Pos(), End: call.End(), Category: categoryRequest,
		Message: fmt.Sprintf("%s sends no context and loses the tag, request id and trace of %s: make the request with http.NewRequestWithContext",
			types.ExprString(call.Fun), src.name()),
		SuggestedFixes: c.fixRequest(call, src),
	})
}

// fixRequest gives NewRequest a context; the others would become several statements.
func (c *checker) fixRequest(call *ast.CallExpr, src *source) []analysis.SuggestedFix {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "NewRequest" || !c.namesSource(src, call.Pos()) || len(call.Args) == 0 {
		return nil
	}
	return []analysis.SuggestedFix{{
		Message: "Use http.NewRequestWithContext with " + src.name(),
		TextEdits: []analysis.TextEdit{
			{Pos: sel.Sel.Pos(), End: sel.Sel.End(), NewText: []byte("NewRequestWithContext")},
			{Pos: call.Args[0].Pos(), End: call.Args[0].Pos(), NewText: []byte(src.name() + ", ")},
		},
	}}
}
