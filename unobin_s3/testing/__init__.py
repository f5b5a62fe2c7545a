# SPDX-License-Identifier: MIT
"""An S3 server on loopback, for trying things out and for tests. Only commands of the package import it.

    with S3Server() as server:
        client = S3Client(endpoint_url=server.url, region=server.region,
                          credentials=Credentials(server.access_key, server.secret_key))
        server.fault("PutObject /lock", Fault(reset=True, applied=True))    # the next such answer gets lost

`python -m <this package>` serves until it is interrupted. Standard library and the package's signer only.
"""

from .messages import RequestRecord
from .server import Fault, S3Server

__all__ = ["Fault", "RequestRecord", "S3Server"]
