/* A ledger's file or database as commands open it: one that is there, brought up to date, also
 * while a server writes it. */
#ifndef BOOKS_LEDGER_FILE_H
#define BOOKS_LEDGER_FILE_H

#include "books/ledger_sql.h"

/* is_patient: answers may take any time (base/sql.h). ERR_NOTFOUND: in that PostgreSQL is no
 * ledger. */
int ledger_file_open(struct sql **ret, const char *where, int is_patient, struct err *e);

#endif
