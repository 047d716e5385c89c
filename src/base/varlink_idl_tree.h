#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a parsed interface definition is made of; for the files of base/varlink_idl.h alone. */

/* A part of the interface's text. */
struct idl_name {
	const char *text;
	size_t length;
};

enum idl_kind {
	IDL_BOOL,
	IDL_INT,
	IDL_FLOAT,
	IDL_STRING,
	IDL_OBJECT,
	IDL_STRUCT, /* members: the first of its fields, each with a type */
	IDL_ENUM,   /* members: the first of its values, without */
	IDL_ARRAY,  /* of element */
	IDL_MAP,    /* from strings to element */
	IDL_NAMED,  /* element is the type of that name */
};

struct idl_type;

struct idl_member {
	struct idl_member *next;
	struct idl_name name;
	struct idl_type *type;
};

struct idl_type {
	struct idl_type *next_allocated;
	enum idl_kind kind;
	bool nullable;
	struct idl_name name;	  /* IDL_NAMED */
	struct idl_type *element; /* owned by the definition, as everything here is */
	struct idl_member *members;
};

enum idl_declaration_kind { IDL_TYPE, IDL_METHOD, IDL_ERROR };

struct idl_declaration {
	struct idl_declaration *next;
	enum idl_declaration_kind kind;
	struct idl_name name;
	struct idl_type *type;	/* what a method takes, the type, or what an error tells */
	struct idl_type *reply; /* of a method */
};

struct varlink_idl {
	char *text;
	struct idl_name name;
	struct idl_type *types; /* all of them, for release */
	struct idl_declaration *declarations;
};

bool idl_name_is(const struct idl_name *name, const char *text, size_t length);

/* NULL where there is none of that kind and name. */
const struct idl_declaration *idl_find(const struct varlink_idl *idl,
				       enum idl_declaration_kind kind, const char *name,
				       size_t length);
