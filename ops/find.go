package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

func findCommand(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "find KEY|BUILDID|FILE",
		Short: "tell who has a key, or why nobody does; exit status 1 when it is not served",
		Long: "Tell which package serves a key and which members hold the file, or why nobody does.\n" +
			"A KEY is a path or URL as a debugger asks for it, a BUILDID is hex or the UUID of a\n" +
			"Mach-O image, a FILE is a local file whose own keys are looked up. The exit status is\n" +
			"1 unless every key is served.",
		Example: "  symkeep find app.pdb/3249D99D0C4049318610F4E4FB0B69361/app.pdb --server http://symbols:8480\n" +
			"  symkeep find 1a58ff734bb1f734df5c --server http://symbols:8480\n" +
			"  symkeep find ./build/app.exe --server http://symbols:8480",
		Args: Args(1, 1, "one key, build id or file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			queries, err := queriesOf(args[0])
			if err != nil {
				return err
			}
			return find(cmd.Context(), &r, printer{env, r.json}, queries)
		},
	}
	r.flags(c.Flags())
	return c
}

// queriesOf makes queries of an argument. A local file goes first: its path may
// look like a key.
func queriesOf(arg string) ([]string, error) {
	fi, err := os.Stat(arg)
	switch {
	case err == nil && fi.Mode().IsRegular():
		return keysOf(arg, fi.Size())
	case err == nil && fi.IsDir():
		return nil, Usage("%s: a folder, wanted a file, a key or a build id", arg)
	case err != nil && !errors.Is(err, fs.ErrNotExist) && strings.ContainsRune(arg, os.PathSeparator):
		return nil, err
	}
	key := arg
	if _, rest, ok := strings.Cut(arg, "://"); ok { // as a debugger's log shows it
		_, key, _ = strings.Cut(rest, "/")
	}
	_, keyErr := symid.ParseLookup(key)
	_, idErr := symid.ParseBuildID(strings.ReplaceAll(arg, "-", "")) // a UUID may have dashes
	if keyErr != nil && idErr != nil {
		return nil, Usage("\"%s\": no such file, and neither a key (name/id/name, buildid/HEX/debuginfo) nor a build id", arg)
	}
	return []string{key}, nil
}

// keysOf identifies a local file and returns one lookup path per key.
func keysOf(path string, size int64) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	id, err := validate.Identify(f, size, symid.BaseName(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var queries []string
	for _, k := range id.Keys {
		if paths := k.Key.Paths(); len(paths) > 0 {
			queries = append(queries, paths[0])
		}
	}
	if len(queries) == 0 {
		return nil, fmt.Errorf("%s: no key: debuggers cannot ask for it: see `symkeep check %s`", path, path)
	}
	return queries, nil
}

func find(ctx context.Context, r *remote, p printer, queries []string) error {
	missed := false
	for _, q := range queries {
		var resp api.FindResponse
		err := r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
			resp, err = c.Find(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
		if err := p.print(resp, func(w io.Writer) error { return writeFound(w, resp) }); err != nil {
			return err
		}
		missed = missed || !served(resp)
	}
	if missed {
		return &ExitError{Code: ExitFailure}
	}
	return nil
}

func served(resp api.FindResponse) bool {
	for _, f := range resp.Found {
		if f.Served {
			return true
		}
	}
	return false
}

func writeFound(w io.Writer, resp api.FindResponse) error {
	s := &strings.Builder{}
	fmt.Fprintln(s, resp.Query)
	for _, f := range resp.Found {
		state := "not served, " + string(f.Candidate.State)
		switch {
		case f.Served:
			state = "served"
		case f.Candidate.State == catalog.StateGood:
			state = "held as well, another one goes first"
		}
		fmt.Fprintf(s, "  %s: %s in package %s, %s %s\n", state, f.Path, f.Candidate.Package, f.Product, f.Version)
		if f.Key != "" && f.Key != resp.Query {
			fmt.Fprintf(s, "    key %s\n", f.Key)
		}
		fmt.Fprintf(s, "    sha256 %s, verdict %s\n", f.Digest, stamp(f.At))
		if len(f.Holders) > 0 {
			fmt.Fprintf(s, "    on %s\n", strings.Join(f.Holders, ", "))
		}
		for _, x := range f.Findings {
			fmt.Fprintf(s, "    %s %s: %s\n", x.Severity, x.Code, x.Message)
		}
	}
	switch {
	case len(resp.Found) == 0:
		fmt.Fprintln(s, "  nobody has it: no package holds a file with this key")
	case !served(resp):
		fmt.Fprintln(s, "  nobody is given it: no good package holds it")
	}
	_, err := io.WriteString(w, agent.Clean(s.String()))
	return err
}
