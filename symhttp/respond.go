package symhttp

import "github.com/valyala/fasthttp"

func (s *Server) malformed(rc *fasthttp.RequestCtx, err error) {}
func (s *Server) panicked(rc *fasthttp.RequestCtx, r any)      {}
