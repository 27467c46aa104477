package lint_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "symkeep"

// A file is one parsed Go file of the repository.
type file struct {
	path    string // relative to the root, with slashes
	src     []byte
	ast     *ast.File
	fset    *token.FileSet
	imports []string
}

// dir is the package's directory, relative to the root.
func (f file) dir() string { return path.Dir(f.path) }

func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f file) at(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}

// sources returns every Go file of the repository, parsed.
func sources(t *testing.T) []file {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found %d Go files, the walk is broken", len(files))
	}
	return files
}

var parsed = sync.OnceValues(parseAll)

func parseAll() ([]file, error) {
	root := os.DirFS("../..")
	var files []file
	err := fs.WalkDir(root, ".", func(p string, e fs.DirEntry, err error) error {
		switch name := e.Name(); {
		case err != nil:
			return err
		case e.IsDir() && p != "." && notOurs(name):
			return fs.SkipDir
		case e.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f := file{path: p, src: src, fset: token.NewFileSet()}
		if f.ast, err = parser.ParseFile(f.fset, p, src, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		for _, i := range f.ast.Imports {
			s, _ := strconv.Unquote(i.Path.Value)
			f.imports = append(f.imports, s)
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// notOurs reports whether a directory holds no source of ours: what the go
// command skips as well, and what make leaves behind.
func notOurs(name string) bool {
	switch name {
	case "testdata", "tmp", "bin", "dist", "node_modules":
		return true
	}
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

func TestFormatted(t *testing.T) {
	for _, f := range sources(t) {
		if b, err := format.Source(f.src); err != nil || !bytes.Equal(b, f.src) {
			t.Errorf("%s: not formatted (%v): run gofmt -w %s", f.path, err, f.path)
		}
	}
}

func TestNames(t *testing.T) {
	for _, f := range sources(t) {
		switch strings.TrimSuffix(f.ast.Name.Name, "_test") {
		case "util", "utils", "common", "types", "pkg", "misc", "helpers", "base", "shared":
			t.Errorf("%s: package %s says nothing: name it for what it owns", f.path, f.ast.Name.Name)
		}
		switch path.Base(f.path) {
		case "util.go", "utils.go", "common.go", "types.go", "impl.go", "misc.go", "helpers.go":
			t.Errorf("%s: the name says nothing: name the file for its idea", f.path)
		}
	}
}

func TestPackagesHaveDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sources(t) {
		if f.isTest() {
			continue
		}
		if _, seen := documented[f.dir()]; !seen {
			documented[f.dir()] = false
		}
		if f.ast.Doc == nil {
			continue
		}
		if documented[f.dir()] {
			t.Errorf("%s: a second package comment for %s: keep one", f.path, f.dir())
		}
		documented[f.dir()] = true
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = "Command "
			if strings.HasPrefix(f.ast.Doc.Text(), "Symkeep ") {
				continue
			}
		}
		if !strings.HasPrefix(f.ast.Doc.Text(), want) {
			t.Errorf("%s: package comment starts %.30q, want %q", f.path, f.ast.Doc.Text(), want)
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no package comment: say what it owns and what it leaves to others", dir)
		}
	}
}

func TestExportedNamesHaveDocs(t *testing.T) {
	for _, f := range sources(t) {
		if f.isTest() || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					t.Errorf("%s: func %s has no doc comment", f.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
						t.Errorf("%s: type %s has no doc comment", f.at(s), s.Name.Name)
					}
				}
			}
		}
	}
}

// exportedReceiver reports whether d is no method, or one of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// Only main decides to end the process.
func TestOnlyMainExits(t *testing.T) {
	for _, f := range sources(t) {
		if f.isTest() || f.ast.Name.Name == "main" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if ok && (pkg.Name == "os" && sel.Sel.Name == "Exit" || pkg.Name == "log" && strings.HasPrefix(sel.Sel.Name, "Fatal")) {
				t.Errorf("%s: %s.%s outside of main: return an error", f.at(n), pkg.Name, sel.Sel.Name)
			}
			return true
		})
	}
}
