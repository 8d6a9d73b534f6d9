# The commands of the order center. Needs make and Python 3.11 or newer, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/sh
PYTEST_OPTIONS ?=
DEPLOY_ENV := HTTPS_ONLY=true ALLOWED_HOSTS=orders.example.com \
	CSRF_TRUSTED_ORIGINS=https://orders.example.com

.DEFAULT_GOAL := help
.PHONY: help install install-dev browser run dev test check quick nightly lock clean

help:  ## 列出全部命令
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

install: $(VENV)/.installed  ## 按锁定的依赖建立 .venv

$(VENV)/.installed: requirements.lock .ci/bootstrap
	@PYTHON="$(PYTHON)" .ci/bootstrap requirements.lock
	@touch $@

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: requirements-dev.lock .ci/bootstrap
	@PYTHON="$(PYTHON)" .ci/bootstrap requirements-dev.lock
	@touch $@ $(VENV)/.installed

run: install  ## 启动数据库、沙箱平台、网页与后台任务（Ctrl-C 停止）
	@exec $(BIN)/python -m ordercenter.run

dev: install  ## 同 make run，源码变化时自动重启
	@exec $(BIN)/python -m ordercenter.run --reload

browser: install-dev
	@.ci/browser

test: install-dev browser  ## 运行测试
	@$(BIN)/python -m pytest -m "not nightly" -n 2 $(PYTEST_OPTIONS)

quick: install-dev  ## 不跑测试的快速检查
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

check: quick  ## CI 所跑的全部检查
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(DEPLOY_ENV) $(BIN)/python manage.py check --deploy --fail-level WARNING
	@$(MAKE) --no-print-directory test

nightly: install-dev browser  ## 夜间的长时间测试
	@$(BIN)/python -m pytest -m nightly $(PYTEST_OPTIONS)

lock:  ## 重新锁定依赖（需要 uv）
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:  ## 删除 .venv 与各种缓存（保留 var/ 中的数据）
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
