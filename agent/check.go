package agent

import (
	"context"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/spool"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// Check scans files and validates them as one package, here, without a network. The
// result is that of Push without a package. Of cfg only Paths, Policy, Sources and Workers
// count: what is found is weighed by that policy alone.
func Check(ctx context.Context, cfg Config, report Reporter) (api.Result, error) {
	dir := spool.New("", nil)
	defer dir.Close()
	files, err := Scan(ctx, cfg.Paths, dir, cfg.Workers, report)
	if err == nil {
		reportPairs(files, report)
		files, err = addSources(ctx, files, cfg.Sources, report)
	}
	if err != nil {
		return api.Result{}, interrupted(ctx, err, &push{})
	}
	r, err := check(ctx, files, cfg, report)
	return r, interrupted(ctx, err, &push{})
}

func check(ctx context.Context, files []File, cfg Config, report Reporter) (api.Result, error) {
	var subjects []validate.File
	for i := range files {
		if !files[i].passedOver() {
			subjects = append(subjects, files[i].subject(i))
		}
	}
	found, err := validate.Package(ctx, subjects, validate.Options{Workers: cfg.Workers, Policy: cfg.Policy})
	if err != nil {
		return api.Result{}, err
	}
	r := api.Result{Verdict: found.Verdict, Findings: notNil(found.Findings), Policy: cfg.Policy.Ref(), Judged: cfg.Policy.Ref()}
	ignored := map[int]bool{}
	for _, no := range found.Ignored {
		ignored[no] = true
	}
	reports := found.Files // of the subjects, in order
	for i, f := range files {
		if f.passedOver() {
			r.Files = append(r.Files, passedFile(f))
			continue
		}
		r.Files = append(r.Files, checkedFile(f, reports[0], ignored[i]))
		reports = reports[1:]
	}
	report.Report(Event{Event: EventVerdict, Verdict: r.Verdict})
	return r, nil
}

func checkedFile(f File, fr catalog.FileReport, ignored bool) api.ResultFile {
	keys := []symid.Key{}
	for _, k := range fr.Keys {
		keys = append(keys, k.Key)
	}
	out := resultFile(f)
	out.Kind, out.Arch, out.IDs = kindOf(fr.Kind), fr.Arch, notNil(fr.IDs)
	out.Keys, out.Findings, out.Status = api.KeyPaths(keys), notNil(fr.Findings), api.FileChecked
	out.Quality = notNil(fr.Quality)
	if ignored {
		out.Status = api.FileIgnored
	}
	return out
}
