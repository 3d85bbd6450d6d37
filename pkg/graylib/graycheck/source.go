package graycheck

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/ast/inspector"
)

// source is where a function has its request's context from: one of its parameters.
type source struct {
	param types.Object // nil where the parameter has no name
	// method tells that the context is param.Context(), not param itself.
	method bool
}

// name is how a message calls the context.
func (s *source) name() string {
	switch {
	case s.param == nil:
		return "the context parameter"
	case s.method:
		return s.param.Name() + ".Context()"
	}
	return s.param.Name()
}

// sourceOf returns what the nearest function around cur has, or the next one around that, or nil.
func (c *checker) sourceOf(cur inspector.Cursor) *source {
	for fn := range cur.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		if fn == cur {
			continue
		}
		if src := c.sourceIn(funcType(fn.Node())); src != nil {
			return src
		}
	}
	return nil
}

func funcType(n ast.Node) *ast.FuncType {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return n.Type
	case *ast.FuncLit:
		return n.Type
	}
	return nil
}

// sourceIn returns the first parameter that has a context, one that is a context before the others.
func (c *checker) sourceIn(t *ast.FuncType) *source {
	var other *source
	for _, field := range t.Params.List {
		typ := c.pass.TypesInfo.TypeOf(field.Type)
		if typ == nil {
			continue
		}
		direct := isContext(typ)
		if !direct && !givesContext(typ) {
			continue
		}
		src := &source{method: !direct}
		for _, name := range field.Names {
			if name.Name != "_" {
				src.param = c.pass.TypesInfo.Defs[name]
				break
			}
		}
		if direct {
			return src
		}
		if other == nil {
			other = src
		}
	}
	return other
}

func isContext(t types.Type) bool { return isNamed(t, "context", "Context") }

// givesContext tells whether a parameter of type t is a request or a stream: something whose method Context returns the
// context of what is being served. *testing.T and the like have one too, and are none.
func givesContext(t types.Type) bool {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		return isNamed(p.Elem(), "net/http", "Request")
	}
	if !types.IsInterface(t) || isNamed(t, "testing", "TB") {
		return false
	}
	obj, _, _ := types.LookupFieldOrMethod(t, false, nil, "Context")
	m, ok := obj.(*types.Func)
	if !ok {
		return false
	}
	sig := m.Signature()
	return sig.Params().Len() == 0 && sig.Results().Len() == 1 && isContext(sig.Results().At(0).Type())
}

func isNamed(t types.Type, pkg, name string) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && isObject(n.Obj(), pkg, name)
}

func isObject(o types.Object, pkg, name string) bool {
	return o != nil && o.Name() == name && o.Pkg() != nil && o.Pkg().Path() == pkg
}
