package agent

import (
	"context"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// result joins what the server found with what this push did.
func (p *push) result(ctx context.Context, st api.PackageStatus) (api.Result, error) {
	r := api.Result{Package: p.id, Verdict: VerdictOf(st.Package), State: st.State, Findings: notNil(st.Findings), Policy: st.Policy, Judged: st.Judged}
	byNo := make(map[int]catalog.File, len(p.files))
	for after := -1; ; {
		var page api.FilesPage
		err := p.request(ctx, "read the findings of package "+string(p.id), requestTimeout, func(ctx context.Context, s Server) (err error) {
			page, err = s.Files(ctx, p.id, after)
			return err
		})
		if err != nil {
			return r, err
		}
		for _, f := range page.Files {
			byNo[f.No] = f
		}
		if page.Next == 0 || page.Next <= after || len(page.Files) == 0 {
			break
		}
		after = page.Next
	}
	p.fillResult(&r, byNo)
	return r, p.addIgnored(ctx, &r)
}

// localResult is what is known without a verdict.
func (p *push) localResult(ctx context.Context) (api.Result, error) {
	r := api.Result{Package: p.id, State: catalog.StateCommitted, Findings: []catalog.Finding{}, Policy: p.cfg.Policy.Ref()}
	p.fillResult(&r, nil)
	return r, p.addIgnored(ctx, &r)
}

func (p *push) fillResult(r *api.Result, byNo map[int]catalog.File) {
	counted := map[catalog.Digest]bool{}
	for no, f := range p.files {
		out := resultFile(*f)
		if remote, ok := byNo[no]; ok {
			out = FromCatalog(remote)
		}
		out.Status = api.FileDeduplicated
		if p.sent[f.SHA256] && !counted[f.SHA256] {
			out.Status = api.FileUploaded
			counted[f.SHA256] = true
		}
		r.Files = append(r.Files, out)
	}
}

// addIgnored adds the files that were not pushed, with the reason.
func (p *push) addIgnored(ctx context.Context, r *api.Result) error {
	var subjects []validate.File
	var ignored []File
	for _, f := range p.all {
		if f.Ignored && !f.passedOver() {
			subjects = append(subjects, f.subject(len(ignored)))
			ignored = append(ignored, f)
		}
	}
	report, err := validate.Package(ctx, subjects, validate.Options{})
	for i, f := range ignored {
		out := resultFile(f)
		out.Status, out.Keys = api.FileIgnored, []string{}
		if err == nil {
			out.Findings = notNil(report.Files[i].Findings)
		}
		r.Files = append(r.Files, out)
	}
	for _, f := range p.all {
		if f.passedOver() {
			r.Files = append(r.Files, passedFile(f))
		}
	}
	return nil // a file nobody asked for does not spoil the push
}

// resultFile is a file as the scan knows it.
func resultFile(f File) api.ResultFile {
	keys := []symid.Key{}
	for _, k := range f.Identity.Keys {
		keys = append(keys, k.Key)
	}
	return api.ResultFile{
		Path: f.Path, Kind: kindOf(f.Identity.Kind), Arch: f.Identity.Arch, Size: f.Size, SHA256: f.SHA256,
		IDs: notNil(f.Identity.IDs), Keys: api.KeyPaths(keys), Quality: []catalog.Quality{}, Findings: []catalog.Finding{},
	}
}

// passedFile is an ignored member of an archive.
func passedFile(f File) api.ResultFile {
	out := resultFile(f)
	out.Status, out.Keys, out.Findings = api.FileIgnored, []string{}, notNil(f.Findings)
	return out
}

// FromCatalog is a file as the cluster knows it, in the form of a result. Its
// status is left empty.
func FromCatalog(f catalog.File) api.ResultFile {
	return api.ResultFile{
		Path: f.Path, Kind: kindOf(f.Kind), Arch: f.Arch, Size: f.Size, SHA256: f.SHA256,
		IDs: notNil(f.IDs), Keys: api.KeyPaths(f.Keys), Quality: notNil(f.Quality), Findings: notNil(f.Findings),
	}
}

func kindOf(k catalog.FileKind) catalog.FileKind {
	if k == "" {
		return catalog.KindUnknown
	}
	return k
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
