package web

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readiness is something without which this node should get no requests.
type readiness struct {
	name  string
	check func(context.Context) error
}

// Ready adds a check to /readyz. check says what is wrong, within two seconds.
func (s *Server) Ready(name string, check func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, readiness{name, check})
}

func (s *Server) operatingRoutes() {
	s.engine.GET("/healthz", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "ok", "version": s.options.Version}) })
	s.engine.GET("/readyz", s.readyz)
	s.engine.GET("/metrics", gin.WrapH(promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{
		DisableCompression: true, // ServeHTTP compresses
	})))
}

func (s *Server) readyz(c *gin.Context) {
	s.mu.RLock()
	checks := slices.Clone(s.checks)
	s.mu.RUnlock()
	ctx, cancel := context.WithTimeout(c.Request.Context(), 2*time.Second)
	defer cancel()
	problems := make([]error, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() { problems[i] = check.check(ctx) })
	}
	running.Wait()
	notReady := []string{}
	for i, err := range problems {
		if err != nil {
			notReady = append(notReady, checks[i].name)
			s.log.Warn("not ready", "check", checks[i].name, "error", err)
		}
	}
	status := http.StatusOK
	if len(notReady) > 0 {
		status = http.StatusServiceUnavailable
	}
	c.JSON(status, gin.H{"ready": len(notReady) == 0, "not_ready": notReady})
}
