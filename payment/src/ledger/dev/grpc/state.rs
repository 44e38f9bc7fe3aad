//! `StateService`: what an address owns.

use iota_sdk_grpc_types::read_masks;
use iota_sdk_grpc_types::tonic::{self, Request, Response, Status};
use iota_sdk_grpc_types::v1::state_service::state_service_server::StateService;
use iota_sdk_grpc_types::v1::state_service::{
    GetCoinInfoRequest, GetCoinInfoResponse, ListDynamicFieldsRequest, ListDynamicFieldsResponse,
    ListOwnedObjectsRequest, ListOwnedObjectsResponse,
};
use iota_sdk_types::{Address, Object, ObjectId, StructTag};

use super::{Service, malformed, mask, render, unsupported};

const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 1_000;

#[tonic::async_trait]
impl StateService for Service {
    async fn list_owned_objects(
        &self,
        request: Request<ListOwnedObjectsRequest>,
    ) -> Result<Response<ListOwnedObjectsResponse>, Status> {
        let request = request.into_inner();
        let mask = mask(request.read_mask, read_masks::LIST_OWNED_OBJECTS_READ_MASK)?;
        let owner = request
            .owner
            .as_ref()
            .and_then(|owner| Address::try_from(owner).ok())
            .ok_or_else(|| malformed("owner"))?;
        let after = request
            .page_token
            .map(|token| ObjectId::from_bytes(&token).map_err(|_| malformed("page_token")))
            .transpose()?;
        let wanted: Option<StructTag> = request
            .object_type
            .as_deref()
            .map(|text| text.parse().map_err(|_| malformed("object_type")))
            .transpose()?;
        let size = request
            .page_size
            .unwrap_or(DEFAULT_PAGE)
            .clamp(1, LARGEST_PAGE);
        let size = usize::try_from(size).map_err(|_| malformed("page_size"))?;

        let state = self.ledger.state.lock();
        let mut objects: Vec<&Object> = state
            .owned_by(&owner)
            .filter(|object| after.is_none_or(|after| object.id() > after))
            .filter(|object| wanted.as_ref().is_none_or(|wanted| is_a(object, wanted)))
            .take(size + 1)
            .collect();
        let mut response = ListOwnedObjectsResponse::default();
        if objects.len() > size {
            objects.truncate(size);
            response.next_page_token = objects.last().map(|object| {
                let id = object.id();
                let bytes: &[u8] = id.as_ref();
                bytes.to_vec().into()
            });
        }
        response.objects = objects
            .into_iter()
            .map(|object| render::object(object, &mask))
            .collect();
        Ok(Response::new(response))
    }

    async fn list_dynamic_fields(
        &self,
        _: Request<ListDynamicFieldsRequest>,
    ) -> Result<Response<ListDynamicFieldsResponse>, Status> {
        Err(unsupported())
    }

    async fn get_coin_info(
        &self,
        _: Request<GetCoinInfoRequest>,
    ) -> Result<Response<GetCoinInfoResponse>, Status> {
        Err(unsupported())
    }
}

/// Whether an object is of a type; a type without its parameters stands for all of them.
fn is_a(object: &Object, wanted: &StructTag) -> bool {
    object.struct_tag().is_some_and(|tag| {
        tag == *wanted
            || (wanted.type_params().is_empty()
                && tag.address() == wanted.address()
                && tag.module() == wanted.module()
                && tag.name() == wanted.name())
    })
}
