// TLS settings of a libcurl handle, for the .cc files of this folder.
#pragma once

#include <curl/curl.h>

#include "http/client.h"

namespace tidewright::http {

// Makes `easy` follow `tls`, but for its server name, with TLS 1.2 as the least. Borrows the texts of `tls` until the
// exchange has ended. `with_certificate`: whether the client certificate, if there is one, may be shown.
void ApplyTls(CURL* easy, const ClientTls& tls, bool with_certificate);

}  // namespace tidewright::http
