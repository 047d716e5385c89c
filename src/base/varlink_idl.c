#include "base/varlink_idl.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/varlink_idl_tree.h"

/* How deep a type may be nested in others without a name. */
#define NESTING_MAX 32

struct parser {
	struct varlink_idl *idl;
	const char *at;
	unsigned int line;
	unsigned int nesting;
	struct error *err;
};

bool idl_name_is(const struct idl_name *name, const char *text, size_t length)
{
	return name->length == length && !memcmp(name->text, text, length);
}

const struct idl_declaration *idl_find(const struct varlink_idl *idl,
				       enum idl_declaration_kind kind, const char *name,
				       size_t length)
{
	const struct idl_declaration *each = idl->declarations;

	while (each && !(each->kind == kind && idl_name_is(&each->name, name, length)))
		each = each->next;
	return each;
}

static int expected(struct parser *parser, const char *what)
{
	return error_set(parser->err, EINVAL, "line %u of the interface: %s expected", parser->line,
			 what);
}

static void skip_space(struct parser *parser)
{
	for (;; parser->at++) {
		if (*parser->at == '#')
			parser->at += strcspn(parser->at, "\n");
		if (*parser->at == '\n')
			parser->line++;
		else if (!*parser->at || !strchr(" \t\r", *parser->at))
			return;
	}
}

/* Whether the text goes on with token, which is then read. */
static bool accept(struct parser *parser, const char *token)
{
	skip_space(parser);
	if (strncmp(parser->at, token, strlen(token)) != 0)
		return false;
	parser->at += strlen(token);
	return true;
}

static int require(struct parser *parser, const char *token)
{
	return accept(parser, token) ? 0 : expected(parser, token);
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* The word that the text goes on with, of length 0 where it is none; it is not read. */
static struct idl_name peek_word(struct parser *parser)
{
	struct idl_name word;

	skip_space(parser);
	word.text = parser->at;
	for (word.length = 0; is_word(word.text[word.length]); word.length++)
		;
	return word;
}

static bool accept_word(struct parser *parser, const char *text)
{
	struct idl_name word = peek_word(parser);

	if (!idl_name_is(&word, text, strlen(text)))
		return false;
	parser->at += word.length;
	return true;
}

/* Of a type, a method or an error: [A-Z][A-Za-z0-9]*. */
static bool is_declared_name(const struct idl_name *word)
{
	return word->length && isupper((unsigned char)word->text[0]) &&
	       !memchr(word->text, '_', word->length);
}

/* Of a field or of a value: [A-Za-z](_?[A-Za-z0-9])*. */
static bool is_field_name(const struct idl_name *word)
{
	if (!word->length || !isalpha((unsigned char)word->text[0]) ||
	    word->text[word->length - 1] == '_')
		return false;
	for (size_t i = 1; i < word->length; i++) {
		if (word->text[i] == '_' && word->text[i - 1] == '_')
			return false;
	}
	return true;
}

/* Names in use have capitals, too: [A-Za-z](-*[A-Za-z0-9])*(.[A-Za-z0-9](-*[A-Za-z0-9])*)+ */
static bool is_interface_name(const struct idl_name *name)
{
	bool in_part = false; /* after a letter or digit */
	bool dotted = false;

	if (!name->length || !isalpha((unsigned char)name->text[0]))
		return false;
	for (size_t i = 0; i < name->length; i++) {
		char c = name->text[i];
		bool first = !i || name->text[i - 1] == '.';

		if ((c == '.' && !in_part) || (c == '-' && first))
			return false;
		dotted |= c == '.';
		in_part = c != '.' && c != '-';
	}
	return in_part && dotted;
}

static struct idl_type *type_new(struct parser *parser, enum idl_kind kind)
{
	struct idl_type *type = calloc(1, sizeof(*type));

	if (!type) {
		error_memory(parser->err, "an interface");
		return NULL;
	}
	type->kind = kind;
	type->next_allocated = parser->idl->types;
	parser->idl->types = type;
	return type;
}

static int parse_type(struct parser *parser, struct idl_type **out);

/* One field with its type, or one value without, put where *end says. */
static int parse_member(struct parser *parser, struct idl_type *parent, struct idl_member **end)
{
	struct idl_name name = peek_word(parser);
	struct idl_member *member;

	if (!is_field_name(&name))
		return expected(parser, "the name of a member");
	for (member = parent->members; member; member = member->next) {
		if (idl_name_is(&member->name, name.text, name.length))
			return expected(parser, "a name that no other member has");
	}
	member = calloc(1, sizeof(*member));
	if (!member)
		return error_memory(parser->err, "an interface");
	*end = member;
	member->name = name;
	parser->at += name.length;
	if (parent->members == member)
		parent->kind = accept(parser, ":") ? IDL_STRUCT : IDL_ENUM;
	else if (parent->kind == IDL_STRUCT && require(parser, ":"))
		return -EINVAL;
	return parent->kind == IDL_STRUCT ? parse_type(parser, &member->type) : 0;
}

/* What follows a parenthesis: fields, values, or nothing. */
static int parse_members(struct parser *parser, struct idl_type **out)
{
	struct idl_type *type = type_new(parser, IDL_STRUCT);
	struct idl_member **end;
	int r;

	if (!type)
		return -ENOMEM;
	*out = type;
	if (accept(parser, ")"))
		return 0;
	for (end = &type->members;; end = &(*end)->next) {
		r = parse_member(parser, type, end);
		if (r)
			return r;
		if (accept(parser, ")"))
			return 0;
		r = require(parser, ",");
		if (r)
			return r;
	}
}

static int parse_struct(struct parser *parser, struct idl_type **out)
{
	int r = require(parser, "(");

	if (!r)
		r = parse_members(parser, out);
	if (!r && (*out)->kind != IDL_STRUCT)
		r = expected(parser, "before here, a structure");
	return r;
}

static int parse_named(struct parser *parser, struct idl_type **out)
{
	static const struct {
		const char *word;
		enum idl_kind kind;
	} words[] = {{"bool", IDL_BOOL},
		     {"int", IDL_INT},
		     {"float", IDL_FLOAT},
		     {"string", IDL_STRING},
		     {"object", IDL_OBJECT}};
	struct idl_name name = peek_word(parser);
	enum idl_kind kind = IDL_NAMED;

	for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
		if (idl_name_is(&name, words[i].word, strlen(words[i].word)))
			kind = words[i].kind;
	}
	if (kind == IDL_NAMED && !is_declared_name(&name))
		return expected(parser, "a type");
	*out = type_new(parser, kind);
	if (!*out)
		return -ENOMEM;
	(*out)->name = name;
	parser->at += name.length;
	return 0;
}

static int parse_list(struct parser *parser, enum idl_kind kind, struct idl_type **out)
{
	*out = type_new(parser, kind);
	return *out ? parse_type(parser, &(*out)->element) : -ENOMEM;
}

static int parse_type(struct parser *parser, struct idl_type **out)
{
	struct idl_type *type;
	bool nullable = accept(parser, "?");
	int r;

	if (parser->nesting == NESTING_MAX)
		return expected(parser, "a type that is nested less deep");
	parser->nesting++;
	if (accept(parser, "[]"))
		r = parse_list(parser, IDL_ARRAY, &type);
	else if (accept(parser, "[string]"))
		r = parse_list(parser, IDL_MAP, &type);
	else if (accept(parser, "("))
		r = parse_members(parser, &type);
	else
		r = parse_named(parser, &type);
	parser->nesting--;
	if (r)
		return r;
	type->nullable = nullable;
	*out = type;
	return 0;
}

static int parse_declaration_body(struct parser *parser, struct idl_declaration *declaration)
{
	int r;

	if (declaration->kind == IDL_TYPE) {
		r = require(parser, "(");
		return r ? r : parse_members(parser, &declaration->type);
	}
	r = parse_struct(parser, &declaration->type);
	if (r || declaration->kind == IDL_ERROR)
		return r;
	r = require(parser, "->");
	return r ? r : parse_struct(parser, &declaration->reply);
}

/* They share their names. */
static bool is_declared(const struct varlink_idl *idl, const struct idl_name *name)
{
	return idl_find(idl, IDL_TYPE, name->text, name->length) ||
	       idl_find(idl, IDL_METHOD, name->text, name->length) ||
	       idl_find(idl, IDL_ERROR, name->text, name->length);
}

static int parse_declaration(struct parser *parser, struct idl_declaration **end)
{
	struct idl_declaration *declaration;
	enum idl_declaration_kind kind;
	struct idl_name name;

	if (accept_word(parser, "type"))
		kind = IDL_TYPE;
	else if (accept_word(parser, "method"))
		kind = IDL_METHOD;
	else if (accept_word(parser, "error"))
		kind = IDL_ERROR;
	else
		return expected(parser, "type, method or error");
	name = peek_word(parser);
	if (!is_declared_name(&name))
		return expected(parser, "a name with a capital letter first");
	if (is_declared(parser->idl, &name))
		return expected(parser, "a name that is not declared already");
	declaration = calloc(1, sizeof(*declaration));
	if (!declaration)
		return error_memory(parser->err, "an interface");
	*end = declaration;
	declaration->kind = kind;
	declaration->name = name;
	parser->at += name.length;
	return parse_declaration_body(parser, declaration);
}

static int parse_interface(struct parser *parser)
{
	struct idl_declaration **end = &parser->idl->declarations;
	struct idl_name *name = &parser->idl->name;

	if (!accept_word(parser, "interface"))
		return expected(parser, "interface");
	skip_space(parser);
	name->text = parser->at;
	while (isalnum((unsigned char)*parser->at) || *parser->at == '.' || *parser->at == '-')
		parser->at++;
	name->length = (size_t)(parser->at - name->text);
	if (!is_interface_name(name))
		return expected(parser, "the name of the interface, as org.example.name,");
	for (skip_space(parser); *parser->at; skip_space(parser)) {
		int r = parse_declaration(parser, end);

		if (r)
			return r;
		end = &(*end)->next;
	}
	return parser->idl->declarations ? 0 : expected(parser, "type, method or error");
}

/* Finds the types that others name. */
static int resolve(const struct varlink_idl *idl, struct error *err)
{
	for (struct idl_type *type = idl->types; type; type = type->next_allocated) {
		const struct idl_declaration *found;

		if (type->kind != IDL_NAMED)
			continue;
		found = idl_find(idl, IDL_TYPE, type->name.text, type->name.length);
		if (!found)
			return error_set(err, EINVAL, "the interface declares no type %.*s",
					 (int)type->name.length, type->name.text);
		type->element = found->type;
	}
	return 0;
}

int varlink_idl_parse(const char *text, struct varlink_idl **out, struct error *err)
{
	struct varlink_idl *idl = calloc(1, sizeof(*idl));
	struct parser parser = {.idl = idl, .line = 1, .err = err};
	int r;

	if (!idl)
		return error_memory(err, "an interface");
	idl->text = strdup(text);
	parser.at = idl->text;
	r = idl->text ? parse_interface(&parser) : error_memory(err, "an interface");
	if (!r)
		r = resolve(idl, err);
	if (r) {
		varlink_idl_free(idl);
		return r;
	}
	*out = idl;
	return 0;
}

static void type_free(struct idl_type *type)
{
	struct idl_member *next;

	for (struct idl_member *member = type->members; member; member = next) {
		next = member->next;
		free(member);
	}
	free(type);
}

void varlink_idl_free(struct varlink_idl *idl)
{
	struct idl_declaration *next_declaration;
	struct idl_type *next_type;

	if (!idl)
		return;
	for (struct idl_declaration *each = idl->declarations; each; each = next_declaration) {
		next_declaration = each->next;
		free(each);
	}
	for (struct idl_type *type = idl->types; type; type = next_type) {
		next_type = type->next_allocated;
		type_free(type);
	}
	free(idl->text);
	free(idl);
}

bool varlink_idl_is(const struct varlink_idl *idl, const char *name)
{
	return idl_name_is(&idl->name, name, strlen(name));
}

bool varlink_idl_has_method(const struct varlink_idl *idl, const char *method)
{
	return idl_find(idl, IDL_METHOD, method, strlen(method));
}
